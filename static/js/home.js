// The first page: takes photographs or words, sends them as orders, and goes to the picture, or keeps a tray of several.

import { Easel, newKey } from "./easel.js";
import { OrderForm } from "./order.js";
import { Refusal, sendOrder } from "./api.js";
import { Tray } from "./tray.js";
import { listenForPhotos } from "./intake.js";
import { cameFromShareSheet, forgetShared, sharedPhotos } from "./shared.js";
import { localClocks, megabytes, percent, say } from "./words.js";
import "./compare.js";

const byId = (id) => document.getElementById(id);
const form = byId("paint-form");
const button = byId("paint-button");
const input = byId("image");
const alertBox = byId("form-alert");
const sending = byId("sending");
const orderForm = new OrderForm(form);

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
    button.querySelector("[data-label]").textContent = count > 1 ? say("paintMany", { count }) : say("paintOne");
    photoAhead()?.remove();
    if (!count) forgetShared();
  },
  onProblem: (sentence) => showProblem("", sentence),
});

/** A photo that came ahead of the page, where no service worker takes what is shared; any other takes its place. */
const photoAhead = () => byId("photo-ahead");

const tray = new Tray({ section: byId("tray"), list: byId("tray-list"), template: byId("tray-item") });

/** Sends one photo and returns its task; `report(words, share)` is told how far the bytes are. */
async function order(photo, fields, report) {
  report(say("reading"), null);
  return sendOrder({
    fields,
    photo: await easel.bytesOf(photo),
    key: easel.keyOf(photo, fields),
    onProgress(sent, total) {
      const share = sent / total;
      if (share >= 1) report(say("sent"), null);
      else report(say("sending", { percent: percent(share), size: megabytes(total) }), share);
    },
  });
}

const openTask = (task) => location.assign(`/tasks/${encodeURIComponent(task.taskId)}`);

async function sendOne(photo, fields) {
  const task = await order(photo, fields, showSending);
  await forgetShared();
  openTask(task);
}

let keysOfWords = {}; // As with photos: the same words sent again after a broken connection are the same order.

async function sendWords(fields) {
  showSending(say("handingIn"), null);
  const key = (keysOfWords[JSON.stringify(fields)] ??= newKey());
  openTask(await sendOrder({ fields, key, onProgress() {} }));
}

const STOPPING = [0, 401, 402, 403, 429, 503];
const isAboutAll = (problem) => problem.fields.some((name) => name !== "image");

/** One after the other: on a slow line that finishes the first picture sooner than all at once. */
async function sendSeveral(photos, fields) {
  for (const photo of photos) {
    const entry = tray.add(photo);
    entry.item.scrollIntoView({ block: "nearest" });
    try {
      const task = await order(photo, fields, (words, share) => entry.report(words, share));
      entry.accepted(task);
      easel.remove(photo);
    } catch (problem) {
      entry.refused(problem.message);
      // Nothing that follows would fare better; the rest stays on the easel.
      if (problem instanceof Refusal && (STOPPING.includes(problem.status) || isAboutAll(problem))) throw problem;
    }
  }
}

let busy = false;
function setBusy(value) {
  busy = value;
  button.setAttribute("aria-disabled", String(value));
  sending.hidden = !value || (easel.photos.length > 1 && !orderForm.isFromWords);
}

/** What is missing before anything can be sent: false when nothing is, after leading the visitor there. */
function isIncomplete() {
  if (orderForm.isFromWords) {
    if (orderForm.prompt.value.trim()) return false;
    showProblem("", say("needWords"));
    orderForm.markRefused(["prompt"]);
    return true;
  }
  if (easel.photos.length) return false;
  input.click();
  return true;
}

/** Sends what the form holds; true when the page is leaving for the picture's own. */
async function send() {
  const fields = orderForm.fields();
  if (orderForm.isFromWords) {
    await sendWords(fields);
    return true;
  }
  if (easel.photos.length === 1) {
    await sendOne(easel.photos[0], fields);
    return true;
  }
  await sendSeveral([...easel.photos], fields);
  return false;
}

form.addEventListener("submit", async (event) => {
  if (photoAhead() && !orderForm.isFromWords) return; // It is here already: the plain form names it.
  event.preventDefault();
  if (busy || button.disabled || isIncomplete()) return;
  alertBox.hidden = true;
  orderForm.markRefused([]);
  setBusy(true);
  try {
    if (await send()) return; // The page is leaving: it stays busy so that nobody sends twice.
  } catch (problem) {
    showProblem(problem.title ?? "", problem.message);
    orderForm.markRefused(problem.fields ?? []);
  }
  setBusy(false);
});

// A page that the browser kept in memory comes back as it was left: ready for the next photo, not busy.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const photo of [...easel.photos]) easel.remove(photo);
  keysOfWords = {};
  setBusy(false);
  tray.restore();
});

form.noValidate = true; // The server says what is wrong, in the same words for everybody.
input.required = false;
input.multiple = true;
localClocks();
listenForPhotos({
  inputs: [input, byId("camera")],
  veil: byId("drop-veil"),
  onFiles(files) {
    alertBox.hidden = true;
    if (busy) return;
    orderForm.turnToPhotos();
    easel.add(files);
  },
});
const shared = await sharedPhotos();
if (shared.length) easel.add(shared);
else if (cameFromShareSheet()) showProblem("", say("notShared"));
