// The tray of the first page: several orders under way at once, each with its picture's page behind it.

import { Poller, isFinished } from "./poll.js";
import { announce, percent, say, stageWords } from "./words.js";
import { resetTab, showDoneInTab, showProgressInTab } from "./favicon.js";
import { tell } from "./notify.js";

const SHELF = "tray"; // sessionStorage: the tray lives as long as the tab.
const THUMBNAIL = 128;

/** A small copy for the tray that survives leaving the page; nothing when the browser cannot show the photo. */
function thumbnailOf(image) {
  if (!image.naturalWidth) return "";
  const scale = Math.min(1, THUMBNAIL / Math.max(image.naturalWidth, image.naturalHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, image.naturalWidth * scale);
  canvas.height = Math.max(1, image.naturalHeight * scale);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.7);
}

function finishedWords({ status, note, refunded }) {
  if (status === "SUCCESS") return say(note && refunded ? "trayOriginal" : "trayDone");
  return say(status === "FAILED" ? "trayFailed" : "trayCancelled");
}

class Entry {
  constructor(tray, name, thumbnail) {
    this.tray = tray;
    this.name = name;
    this.thumbnail = thumbnail;
    this.share = 0;
    this.item = tray.template.content.firstElementChild.cloneNode(true);
    this.link = this.item.querySelector("a");
    this.bar = this.item.querySelector("progress");
    this.bar.setAttribute("aria-label", name);
    this.item.querySelector("[data-name]").textContent = name;
    this.away = this.item.querySelector("[data-away]");
    this.away.setAttribute("aria-label", say("trayPutAway", { name }));
    this.away.addEventListener("click", () => tray.putAway(this));
    const image = this.item.querySelector("img");
    if (thumbnail) image.src = thumbnail;
    else image.removeAttribute("src");
    tray.list.append(this.item);
  }

  report(words, share) {
    this.item.querySelector("[data-state]").textContent = words;
    if (share === null) this.bar.removeAttribute("value");
    else this.bar.value = share * 100;
  }

  refused(reason) {
    this.item.classList.add("is-refused");
    this.report(say("trayRefused", { reason }), 0);
    this.bar.hidden = true;
    this.away.hidden = false;
  }

  /** The order stands: the entry becomes a link and follows the task. */
  accepted(task) {
    this.taskId = task.taskId;
    this.link.href = `/tasks/${encodeURIComponent(task.taskId)}`;
    this.show(task);
    this.poller = new Poller(task.taskId, {
      onTask: (news) => this.show(news),
      onGone: () => this.tray.drop(this),
      onAway: (isOffline) => this.report(say(isOffline ? "trayOffline" : "trayAway"), this.share),
      onBack: () => this.show(this.task),
      onRest: () => this.report(say("trayResting"), this.share),
    });
    this.poller.start(task.nextPollMs);
    this.tray.store();
  }

  show(task) {
    const wasWaiting = this.task?.status && !isFinished(this.task); // Not after a reload: that was told before.
    this.task = task;
    this.share = Math.max(this.share, (task.progress ?? 0) / 100);
    if (isFinished(task)) {
      this.share = 1;
      this.bar.hidden = true;
      this.away.hidden = false;
      this.report(finishedWords(task), 1);
      if (task.status === "SUCCESS") this.item.querySelector("img").src = this.#painted;
      if (wasWaiting) this.#tellIt();
    } else {
      this.report(`${stageWords(task.stage ?? "queued")} · ${percent(this.share)}`, this.share);
    }
    this.tray.showInTab();
  }

  get #painted() {
    return `/api/image/${encodeURIComponent(this.taskId)}/thumbnail`;
  }

  #tellIt() {
    const words = finishedWords(this.task);
    announce(`${this.name}: ${words}`);
    tell(words, { body: this.name, path: this.link.getAttribute("href"), icon: this.#painted });
  }
}

export class Tray {
  constructor({ section, list, template }) {
    Object.assign(this, { section, list, template, entries: [] });
    this.title = document.title;
    // What was told in the tab has been seen once somebody looks.
    document.addEventListener("visibilitychange", () => this.showInTab());
    this.restore();
  }

  add(photo) {
    const name = photo.file.name;
    // A second try of a refused photo takes the place of the first.
    for (const entry of this.entries.filter((other) => other.photo === photo)) this.drop(entry);
    const entry = new Entry(this, name, thumbnailOf(photo.item.querySelector("img")));
    entry.photo = photo;
    this.entries.push(entry);
    this.section.hidden = false;
    return entry;
  }

  drop(entry) {
    entry.poller?.stop();
    entry.item.remove();
    this.entries = this.entries.filter((other) => other !== entry);
    this.section.hidden = this.entries.length === 0;
    this.store();
    this.showInTab();
  }

  /** As the visitor's own wish: the focus goes on to what comes next. */
  putAway(entry) {
    const next = entry.item.nextElementSibling ?? entry.item.previousElementSibling;
    this.drop(entry);
    (next?.querySelector("a") ?? document.getElementById("main")).focus({ preventScroll: true });
  }

  /** The tab's title and icon: how far all are, and that all are done until somebody looks. */
  showInTab() {
    const ordered = this.entries.filter((entry) => entry.task);
    const ready = ordered.filter((entry) => isFinished(entry.task)).length;
    if (!ordered.length || (ready === ordered.length && document.visibilityState === "visible")) {
      document.title = this.title;
      resetTab();
      return;
    }
    document.title = `${say("trayTitle", { ready, count: ordered.length })} · ${this.title}`;
    if (ready === ordered.length) showDoneInTab();
    else showProgressInTab(ordered.reduce((sum, entry) => sum + entry.share, 0) / ordered.length);
  }

  store() {
    const kept = this.entries.filter((entry) => entry.taskId);
    try {
      sessionStorage.setItem(
        SHELF,
        JSON.stringify(kept.map(({ taskId, name, thumbnail }) => ({ taskId, name, thumbnail }))),
      );
    } catch {
      // A full or forbidden store only costs the tray after a reload; every picture keeps its own address.
    }
  }

  /** Puts back what was under way before the visitor looked at one of the pictures. */
  restore() {
    let kept = [];
    try {
      kept = JSON.parse(sessionStorage.getItem(SHELF) ?? "[]");
    } catch {
      return;
    }
    const known = new Set(this.entries.map((entry) => entry.taskId));
    for (const { taskId, name, thumbnail } of kept.filter((one) => !known.has(one.taskId))) {
      const entry = new Entry(this, name, thumbnail);
      this.entries.push(entry);
      entry.accepted({ taskId, nextPollMs: 0 });
    }
    this.section.hidden = this.entries.length === 0;
  }
}
