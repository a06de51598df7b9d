// Asks how one task is doing, as often as the server wishes. task.js and tray.js each own one for every task they show.

import { pollTask } from "./api.js";

const REST_AFTER = 4 * 60 * 1000; // Milliseconds without any change.
const LONGEST_PAUSE = 30000;
const PAUSE_WHILE_HIDDEN = 15000; // Nobody looks; the tab and a notification may be a little late.
const FINISHED = new Set(["SUCCESS", "FAILED", "CANCELLED"]);

export const isFinished = (task) => FINISHED.has(task.status);

/**
 * Calls `onTask(task)` on every change, `onGone()` when the task does not exist any more, `onAway(isOffline)` when
 * nobody answers, `onRest()` when it stops asking after four minutes in which nothing moved, and `onBack()` when it
 * hears or asks again after either. Coming back to the page ends a rest.
 */
export class Poller {
  #etag = null;
  #timer = 0;
  #asking = false;
  #failures = 0;
  #stopped = true;
  #isTroubled = false; // Whether the listener was told of a trouble that is not over.
  #lastChange = 0;
  #pause = 2000;
  #listening = null;

  constructor(taskId, listeners) {
    this.taskId = taskId;
    this.listeners = listeners;
  }

  /** Starts asking, or goes on after a rest. */
  start(firstPause = 0) {
    this.#stopped = false;
    this.#lastChange = Date.now();
    this.#listen();
    if (!this.#failures) this.#isWell();
    this.#schedule(firstPause);
  }

  /** Ends it: no timer and no listener stays behind. */
  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#listening?.abort();
    this.#listening = null;
  }

  #listen() {
    if (this.#listening) return;
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    // Phones freeze the timers of hidden pages: a page that is looked at again asks at once, and counts anew.
    const wake = () => document.visibilityState === "visible" && this.start();
    document.addEventListener("visibilitychange", wake, { signal });
    addEventListener("pageshow", wake, { signal });
    addEventListener("online", () => (this.start(), this.#ask()), { signal }); // At once, hidden or not.
    addEventListener("offline", () => this.#isAway(true), { signal });
  }

  #schedule(pause) {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    const least = document.visibilityState === "hidden" ? PAUSE_WHILE_HIDDEN : 0;
    this.#timer = setTimeout(() => this.#ask(), Math.max(pause, least));
  }

  async #ask() {
    if (this.#asking) return;
    this.#asking = true;
    clearTimeout(this.#timer);
    try {
      const { task, etag } = await pollTask(this.taskId, this.#etag);
      this.#etag = etag;
      this.#failures = 0;
      if (!this.#stopped) this.#heard(task);
    } catch (refusal) {
      if (!this.#stopped) this.#refused(refusal);
    } finally {
      this.#asking = false;
    }
  }

  #heard(task) {
    this.#isWell();
    if (task) {
      this.#lastChange = Date.now();
      this.#pause = task.nextPollMs || this.#pause;
      if (isFinished(task)) this.stop();
      this.listeners.onTask(task);
    } else if (this.#mayRest()) {
      clearTimeout(this.#timer);
      this.#isTroubled = true;
      this.listeners.onRest();
      return;
    }
    this.#schedule(this.#pause);
  }

  /** A hidden page goes on, slowly: its tab and its notification are to tell when the picture is done. */
  #mayRest() {
    return Date.now() - this.#lastChange >= REST_AFTER && document.visibilityState === "visible";
  }

  #refused(refusal) {
    if (refusal.status === 404 || refusal.status === 410) {
      this.stop();
      this.listeners.onGone();
      return;
    }
    this.#failures += 1;
    // One bad answer may be a server that is just being renewed; none at all is a line that is cut.
    if (refusal.status === 0) this.#isAway(navigator.onLine === false);
    else if (this.#failures > 1) this.#isAway(false);
    // Spread, so that all who lost the same server do not come back in the same moment.
    const backoff = Math.min(LONGEST_PAUSE, this.#pause * 2 ** this.#failures) * (0.5 + Math.random() / 2);
    this.#schedule(Math.max(refusal.retryAfter * 1000, backoff));
  }

  #isAway(isOffline) {
    this.#isTroubled = true;
    this.listeners.onAway(isOffline);
  }

  #isWell() {
    if (!this.#isTroubled) return;
    this.#isTroubled = false;
    this.listeners.onBack();
  }
}
