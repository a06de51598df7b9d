// The note on the margin: a waiting message that changes every few seconds. task.js starts and stops it.

import { config } from "./words.js";

const FADE = 300; // Milliseconds; the same as the transition in the stylesheet.

/** Shows a random message in this element, never the same twice running; returns a function that stops it. */
export function startWaitingMessages(element) {
  const messages = config.waitingMessages ?? [];
  if (!element || !messages.length) return () => {};
  let current = -1;
  const next = () => {
    let index = Math.floor(Math.random() * messages.length);
    if (index === current) index = (index + 1) % messages.length;
    current = index;
    element.textContent = messages[index];
    element.classList.remove("is-turning");
  };
  next();
  const timer = setInterval(() => {
    element.classList.add("is-turning");
    setTimeout(next, FADE);
  }, config.waitingMessageIntervalMs);
  return () => clearInterval(timer);
}
