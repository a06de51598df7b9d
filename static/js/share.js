// Sharing: sends the owner's forms without leaving the page, copies the link, and hands it to the phone's own share
// sheet. Listens on the document, because the panel is replaced after every change.

import { announce, say } from "./words.js";

/** Sends a form as the browser would, and puts the panel of the page that comes back in place of this one. */
async function send(form) {
  const panel = form.closest(".share-panel");
  const alertBox = panel.querySelector("[data-share-alert]");
  alertBox.hidden = true;
  let page;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form), headers: { Accept: "text/html" } });
    page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok) throw new Error(page.querySelector("main .lead")?.textContent);
    if (new URL(answer.url).pathname !== location.pathname) {
      location.assign(answer.url);
      return;
    }
  } catch (problem) {
    // The browser's own words for a broken line are nobody's language; ours are.
    alertBox.textContent = problem instanceof TypeError ? say("actionFailed") : problem.message || say("actionFailed");
    alertBox.hidden = false;
    return;
  }
  const fresh = document.adoptNode(page.getElementById("share"));
  panel.replaceWith(fresh);
  offerWhatWorks(fresh);
  announce(page.querySelector(".flash")?.textContent ?? "");
  fresh.querySelector("#share-link, [type=submit]")?.focus({ preventScroll: true });
}

async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {
    document.getElementById("share-link")?.select(); // Not allowed here: the link is marked, ready to be copied by hand.
    return;
  }
  const words = button.textContent;
  button.textContent = button.dataset.done;
  announce(button.dataset.done);
  setTimeout(() => {
    button.textContent = words;
  }, 2000);
}

const canSendPictures = () => {
  const nothing = new File([""], "picture.jpg", { type: "image/jpeg" });
  return Boolean(navigator.share && navigator.canShare?.({ files: [nothing] }));
};

const pictures = new Map(); // What was fetched for the share sheet, by its address.

async function pictureBehind(address, name) {
  if (!pictures.has(address)) {
    const answer = await fetch(address);
    if (!answer.ok) throw new TypeError(answer.statusText);
    const bytes = await answer.blob();
    const kind = bytes.type.split("/")[1].replace("jpeg", "jpg");
    pictures.set(address, new File([bytes], `${name}.${kind}`, { type: bytes.type }));
  }
  return pictures.get(address);
}

/** Hands the picture itself to the share sheet. */
async function sendPicture({ sendPicture: address, name }) {
  const words = document.getElementById("send-words");
  words.textContent = "";
  try {
    await navigator.share({ files: [await pictureBehind(address, name)] });
  } catch (problem) {
    if (problem.name === "AbortError") return; // The visitor thought better of it.
    // Some phones forget the press while the picture comes; it is kept, so that the next press finds it.
    words.textContent = say(problem.name === "NotAllowedError" ? "pressAgain" : "actionFailed");
  }
}

/** The picture's own button: where only addresses can be sent it sends the link, if one was made. */
function offerPicture(button) {
  const { sendPicture: address, name, link } = button.dataset;
  if (canSendPictures()) {
    button.addEventListener("pointerdown", () => pictureBehind(address, name).catch(() => {}), { once: true });
  } else {
    delete button.dataset.sendPicture;
    button.dataset.send = link;
  }
  button.hidden = !navigator.share || !(button.dataset.sendPicture || link);
}

/** Shows the buttons that this browser can carry out: the clipboard and the share sheet exist only on safe origins. */
export function offerWhatWorks(root) {
  for (const button of root.querySelectorAll("[data-send]")) button.hidden = !navigator.share;
  for (const button of root.querySelectorAll("[data-send-picture]")) offerPicture(button);
  for (const button of root.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-share]");
  if (!form) return;
  event.preventDefault();
  const button = form.querySelector("[type=submit]");
  if (button.disabled) return;
  button.disabled = true;
  await send(form);
  button.disabled = false;
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.copy) copy(button);
  if (button?.dataset.sendPicture) sendPicture(button.dataset);
  if (button?.dataset.send) navigator.share({ title: document.title, url: button.dataset.send }).catch(() => {});
});

document.addEventListener("focusin", (event) => {
  if (event.target.id === "share-link") event.target.select();
});

offerWhatWorks(document);
