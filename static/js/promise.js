// The promise with its clock: how long it is until an unfinished picture comes back by itself. task.js starts and stops it.

import { duration, say } from "./words.js";

const SECOND = 1000;
const LATER = 3 * SECOND; // After the promised moment: what came back has been written down by then.

/**
 * Counts down in this element, once a second and only while the page is seen, and calls `onDue()` soon after the
 * promised moment. Returns a function that stops it.
 */
export function keepPromise(element, refundAt, onDue) {
  const ended = new AbortController();
  let ticking = 0;
  const left = () => Math.max(0, refundAt - Date.now());
  const tick = () => {
    clearTimeout(ticking);
    if (element) element.textContent = left() ? say("promiseLeft", { time: duration(left() / SECOND) }) : say("promiseDue");
    if (left() && document.visibilityState === "visible") ticking = setTimeout(tick, left() % SECOND || SECOND);
  };
  const due = setTimeout(onDue, left() + LATER);
  document.addEventListener("visibilitychange", tick, { signal: ended.signal });
  tick();
  return () => {
    clearTimeout(ticking);
    clearTimeout(due);
    ended.abort();
  };
}
