// The offline page stands in for a page that could not be fetched, at that page's own address, and gives way to it as
// soon as there is a connection.

const PAUSE = 5000; // Milliseconds between two looks.

async function look() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/health", { cache: "no-store" });
    if (answer.ok) location.reload();
  } catch {
    // Not yet.
  }
}

addEventListener("online", look);
document.addEventListener("visibilitychange", look);
setInterval(look, PAUSE);
