// Asks how one task is doing, as often as the server wishes. task.js and tray.js each own one for every task they show.

import { pollTask } from "./api.js";

const GIVE_UP_AFTER = 4 * 60 * 1000; // Milliseconds without any change.
const LONGEST_PAUSE = 30000;
const FINISHED = new Set(["SUCCESS", "FAILED", "CANCELLED"]);

export const isFinished = (task) => FINISHED.has(task.status);

/**
 * Calls `onTask(task)` on every change, `onGone()` when the task does not exist any more, `onOffline()` and
 * `onOnline()` when the connection goes and comes, `onPause()` when it stops asking after four quiet minutes.
 */
export class Poller {
  #etag = null;
  #timer = 0;
  #asking = false;
  #failures = 0;
  #stopped = true;
  #lastChange = 0;
  #pause = 2000;

  constructor(taskId, listeners) {
    this.taskId = taskId;
    this.listeners = listeners;
    // Phones freeze timers of hidden pages: a page that is looked at again asks at once.
    this.wake = () => {
      if (document.visibilityState === "visible" && !this.#stopped) this.#ask();
    };
    document.addEventListener("visibilitychange", this.wake);
    addEventListener("online", this.wake);
    addEventListener("pageshow", this.wake);
  }

  /** Starts asking, or goes on after a pause. */
  start(firstPause = 0) {
    this.#stopped = false;
    this.#lastChange = Date.now();
    this.#schedule(firstPause);
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #schedule(pause) {
    clearTimeout(this.#timer);
    if (!this.#stopped) this.#timer = setTimeout(() => this.#ask(), pause);
  }

  async #ask() {
    if (this.#asking) return;
    this.#asking = true;
    clearTimeout(this.#timer);
    try {
      const { task, etag } = await pollTask(this.taskId, this.#etag);
      this.#etag = etag;
      if (this.#failures) this.listeners.onOnline?.();
      this.#failures = 0;
      if (!this.#stopped) this.#heard(task);
    } catch (refusal) {
      this.#refused(refusal);
    } finally {
      this.#asking = false;
    }
  }

  #heard(task) {
    if (task) {
      this.#lastChange = Date.now();
      this.#pause = task.nextPollMs || this.#pause;
      if (isFinished(task)) this.stop();
      this.listeners.onTask(task);
    } else if (Date.now() - this.#lastChange >= GIVE_UP_AFTER) {
      this.stop();
      this.listeners.onPause?.();
    }
    this.#schedule(this.#pause);
  }

  #refused(refusal) {
    if (this.#stopped) return;
    if (refusal.status === 404 || refusal.status === 410) {
      this.stop();
      this.listeners.onGone?.();
      return;
    }
    this.#failures += 1;
    if (refusal.status === 0) this.listeners.onOffline?.();
    const backoff = Math.min(LONGEST_PAUSE, this.#pause * 2 ** this.#failures);
    this.#schedule(Math.max(refusal.retryAfter * 1000, backoff));
  }
}
