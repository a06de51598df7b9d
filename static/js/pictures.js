// My pictures: appends the older page when the end of the table comes into view, and shows what is ticked. The address
// follows the reader, so that a reload or a link opens the page that is on the screen.

import { announce, say } from "./words.js";

const table = document.getElementById("table");
const choosing = document.getElementById("chosen");

/** Remembers at which address a page begins, and moves the address bar there when its first print is reached. */
const places = new Map();
const reader = new IntersectionObserver(
  (changes) => {
    for (const change of changes) {
      const isAbove = change.isIntersecting || change.boundingClientRect.top < 0;
      const address = places.get(change.target)[isAbove ? "here" : "before"];
      if (address) history.replaceState(history.state, "", address);
    }
  },
  { rootMargin: "0px 0px -60% 0px" },
);

async function append(link) {
  const before = location.href;
  let page;
  try {
    const answer = await fetch(link.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return; // The link is still there to be followed.
    page = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    return;
  }
  const prints = [...page.querySelectorAll("#table > .own")].map((print) => document.adoptNode(print));
  table.append(...prints);
  if (prints.length) {
    places.set(prints[0], { here: link.href, before });
    reader.observe(prints[0]);
  }
  announce(say("morePictures", { count: prints.length }));
  // Who stands on the link that goes away goes on with the first picture that came.
  if (document.activeElement === link) prints[0]?.querySelector("a").focus({ preventScroll: true });
  const older = page.getElementById("older");
  if (older) {
    document.getElementById("older").replaceWith(document.adoptNode(older));
    watchEnd();
  } else {
    document.getElementById("older").remove();
  }
}

function watchEnd() {
  const link = document.querySelector("#older a");
  if (!link) return;
  const end = new IntersectionObserver(
    (changes) => {
      if (!changes.some((change) => change.isIntersecting)) return;
      end.disconnect();
      append(link);
    },
    { rootMargin: "400px" },
  );
  end.observe(link);
}

/** The bar is there while something is ticked. */
function showChosen() {
  const number = document.querySelectorAll('input[name="task"]:checked').length;
  const words = choosing.querySelector("[data-count]");
  words.textContent = words.dataset.count.replace("{count}", number);
  choosing.hidden = number === 0;
}

if (choosing) {
  choosing.classList.add("is-live");
  document.addEventListener("change", showChosen);
  choosing.addEventListener("reset", () => setTimeout(showChosen));
  addEventListener("pageshow", showChosen); // Ticks survive a way back.
  showChosen();
  watchEnd();
}
