// The comparison: lays photograph and painting over one another with a brush to pull. Works by mouse, by touch
// and, through the real slider beneath, by keyboard. Any page that holds a [data-compare] loads it.

import { percent, say } from "./words.js";

const SWAY_MS = 2600;
const SWAY_PERCENT = 22;
const LONGEST_STEP_MS = 50; // A busy phone shows it slower instead of in jumps.

/** Moves the brush there and back once it is in view, so that it is seen to move; whoever takes hold of it ends this. */
function sway(frame, rest) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  let isTaken = false;
  let part = 0;
  let before;
  const step = (now) => {
    if (isTaken) return;
    part += Math.min(now - (before ?? now), LONGEST_STEP_MS) / SWAY_MS;
    before = now;
    if (part >= 1) return rest();
    frame.style.setProperty("--split", 50 - SWAY_PERCENT * Math.sin(part * 2 * Math.PI) * (1 - part / 2));
    requestAnimationFrame(step);
  };
  for (const kind of ["pointerdown", "focusin"]) {
    frame.addEventListener(kind, () => { isTaken = true; rest(); }, { once: true });
  }
  const watcher = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watcher.disconnect();
    requestAnimationFrame(step);
  }, { threshold: 0.6 });
  watcher.observe(frame);
}

function enliven(figure) {
  const frame = figure.querySelector(".compare__pictures");
  const [painting, photograph] = figure.querySelectorAll("img");
  const slider = figure.querySelector(".compare__range");

  const show = () => {
    frame.style.setProperty("--split", slider.value);
    const share = slider.value / 100;
    slider.setAttribute("aria-valuetext", say("compareValue", { photo: percent(share), painting: percent(1 - share) }));
  };
  const shape = () => {
    if (painting.naturalWidth) frame.style.setProperty("--ratio", painting.naturalWidth / painting.naturalHeight);
  };
  const follow = (event) => {
    const { left, width } = photograph.closest(".compare__half").getBoundingClientRect();
    slider.value = Math.round(((event.clientX - left) / width) * 100);
    show();
  };

  // Safari moves a native slider only by its thumb, so the whole picture listens itself.
  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    frame.setPointerCapture(event.pointerId);
    follow(event);
    slider.focus({ preventScroll: true, focusVisible: false });
  });
  frame.addEventListener("pointermove", (event) => {
    if (frame.hasPointerCapture(event.pointerId)) follow(event);
  });
  frame.addEventListener("dragstart", (event) => event.preventDefault());
  slider.addEventListener("input", show);
  painting.addEventListener("load", shape);
  if ("sways" in figure.dataset) sway(frame, show);

  const given = painting.getAttribute("width") / painting.getAttribute("height");
  if (given) frame.style.setProperty("--ratio", given);
  shape();
  slider.hidden = false;
  figure.classList.add("is-live");
  show();
}

/** Enlivens every comparison below this element. */
export function enlivenComparisons(root = document) {
  root.querySelectorAll("[data-compare]:not(.is-live)").forEach(enliven);
}

enlivenComparisons();
