// The comparison: lays photograph and painting over one another with a brush to pull. Works by mouse, by touch
// and, through the real slider beneath, by keyboard. Any page that holds a [data-compare] loads it.

import { percent, say } from "./words.js";

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
    const { left, width } = photograph.parentElement.getBoundingClientRect();
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
