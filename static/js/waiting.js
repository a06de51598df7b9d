// The note on the margin: a waiting message that changes every few seconds. task.js starts and stops it.

import { config } from "./words.js";

const FADE = 300; // Milliseconds; the same as the transition in the stylesheet.

/**
 * Shows a random message in this element, never the same twice running; returns a function that stops it. While the
 * page is hidden no timer runs.
 */
export function startWaitingMessages(element) {
  const messages = config.waitingMessages ?? [];
  if (!element || !messages.length) return () => {};
  const ended = new AbortController();
  let timer = 0;
  let current = -1;
  const wait = () => {
    clearTimeout(timer);
    if (document.visibilityState === "visible") timer = setTimeout(turn, config.waitingMessageIntervalMs);
  };
  const show = () => {
    const step = 1 + Math.floor(Math.random() * (messages.length - 1)); // Any but the one that is shown.
    current = current < 0 ? Math.floor(Math.random() * messages.length) : (current + step) % messages.length;
    element.textContent = messages[current];
    element.classList.remove("is-turning");
    wait();
  };
  const turn = () => {
    element.classList.add("is-turning");
    timer = setTimeout(show, FADE);
  };
  document.addEventListener("visibilitychange", wait, { signal: ended.signal });
  show();
  return () => {
    clearTimeout(timer);
    ended.abort();
  };
}
