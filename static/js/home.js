// The first page: takes photographs, sends each as an order, and goes to the picture, or keeps a tray of several.

import { Easel } from "./easel.js";
import { Refusal, sendPhoto } from "./api.js";
import { Tray } from "./tray.js";
import { listenForPhotos } from "./intake.js";
import { localClocks, megabytes, percent, say } from "./words.js";
import "./compare.js";

const byId = (id) => document.getElementById(id);
const form = byId("paint-form");
const button = byId("paint-button");
const input = byId("image");
const alertBox = byId("form-alert");
const sending = byId("sending");

function showProblem(title, detail) {
  alertBox.querySelector("[data-title]").textContent = title;
  alertBox.querySelector("[data-detail]").textContent = detail;
  alertBox.hidden = false;
  alertBox.scrollIntoView({ block: "nearest" });
}

function showSending(words, share) {
  byId("sending-words").textContent = words;
  if (share === null) byId("sending-bar").removeAttribute("value");
  else byId("sending-bar").value = share * 100;
}

const easel = new Easel({
  sheet: byId("sheet"),
  list: byId("prints"),
  template: byId("print-item"),
  addAnother: byId("add-another"),
  mostMegabytes: Number(form.dataset.mostMegabytes),
  onChange() {
    const count = easel.photos.length;
    button.textContent = count > 1 ? say("paintMany", { count }) : say("paintOne");
  },
  onProblem: (sentence) => showProblem("", sentence),
});

const tray = new Tray({ section: byId("tray"), list: byId("tray-list"), template: byId("tray-item") });

/** Sends one photo and returns its task; `report(words, share)` is told how far the bytes are. */
async function order(photo, style, report) {
  report(say("reading"), null);
  const { blob, name } = await easel.bytesOf(photo);
  return sendPhoto({
    blob,
    name,
    style,
    key: easel.keyOf(photo, style),
    onProgress(sent, total) {
      const share = sent / total;
      if (share >= 1) report(say("sent"), null);
      else report(say("sending", { percent: percent(share), size: megabytes(total) }), share);
    },
  });
}

async function sendOne(photo, style) {
  const task = await order(photo, style, showSending);
  location.assign(`/tasks/${encodeURIComponent(task.taskId)}`);
}

/** One after the other: on a slow line that finishes the first picture sooner than all at once. */
async function sendSeveral(photos, style) {
  for (const photo of photos) {
    const entry = tray.add(photo);
    entry.item.scrollIntoView({ block: "nearest" });
    try {
      const task = await order(photo, style, (words, share) => entry.report(words, share));
      entry.accepted(task);
      easel.remove(photo);
    } catch (problem) {
      entry.refused(problem.message);
      // Nothing that follows would fare better; the rest stays on the easel.
      if (problem instanceof Refusal && [0, 401, 402, 403, 429, 503].includes(problem.status)) throw problem;
    }
  }
}

let busy = false;
function setBusy(value) {
  busy = value;
  button.setAttribute("aria-disabled", String(value));
  sending.hidden = !value || easel.photos.length > 1;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (busy) return;
  if (!easel.photos.length) {
    input.click();
    return;
  }
  const style = new FormData(form).get("style");
  alertBox.hidden = true;
  setBusy(true);
  try {
    if (easel.photos.length === 1) {
      await sendOne(easel.photos[0], style);
      return; // The page is leaving: it stays busy so that nobody sends twice.
    }
    await sendSeveral([...easel.photos], style);
  } catch (problem) {
    showProblem(problem.title ?? "", problem.message);
  }
  setBusy(false);
});

// A page that the browser kept in memory comes back as it was left: ready for the next photo, not busy.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const photo of [...easel.photos]) easel.remove(photo);
  setBusy(false);
  tray.restore();
});

form.noValidate = true;
input.required = false;
input.multiple = true;
localClocks();
listenForPhotos({
  inputs: [input, byId("camera")],
  veil: byId("drop-veil"),
  onFiles(files) {
    alertBox.hidden = true;
    if (!busy) easel.add(files);
  },
});
