// Keeps the administrators' overview fresh: every half minute the same page is asked for and its main part exchanged.
// Off with a tick, and from the beginning for whoever saves data; never while the page is in the background.

const EVERY_MS = 30_000;
const KEPT_UNDER = "refresh";

const savesData = Boolean(navigator.connection?.saveData) || matchMedia("(prefers-reduced-data: reduce)").matches;

function tick() {
  return document.querySelector("#refresh input");
}

function wished() {
  return sessionStorage.getItem(KEPT_UNDER) ?? (savesData ? "off" : "on");
}

function showTick() {
  document.querySelector("#refresh").hidden = false;
  tick().checked = wished() === "on";
}

function openFolds() {
  return [...document.querySelectorAll("#overview details")].map((fold) => fold.open);
}

async function refresh() {
  if (document.hidden || wished() !== "on") return;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  // Signed out, or the database is away: what stands there says when it was true.
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("#overview");
  const old = document.querySelector("#overview");
  // Whoever reads or points at something in there is not disturbed.
  if (!fresh || (old.contains(document.activeElement) && document.activeElement !== tick())) return;
  const folds = openFolds();
  const hadFocus = document.activeElement === tick();
  old.replaceWith(fresh);
  document.querySelectorAll("#overview details").forEach((fold, number) => (fold.open = folds[number] ?? false));
  showTick();
  if (hadFocus) tick().focus();
}

document.addEventListener("change", ({ target }) => {
  if (target !== tick()) return;
  sessionStorage.setItem(KEPT_UNDER, target.checked ? "on" : "off");
  refresh();
});

showTick();
setInterval(() => refresh().catch(() => {}), EVERY_MS); // A server that is away is asked again later.
