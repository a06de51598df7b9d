// "Tell me when it is painted": a notification of the browser's own, asked for only by its button and shown only while
// the page is hidden. task.js and tray.js tell what is done.

import { say } from "./words.js";

const WISH = "tell"; // sessionStorage: the wish lives as long as the tab.

let wished = false;
try {
  wished = sessionStorage.getItem(WISH) === "1";
} catch {
  // Where storage is forbidden, the wish lives as long as the page.
}

function remember(value) {
  wished = value;
  try {
    sessionStorage.setItem(WISH, value ? "1" : "0");
  } catch {
    return; // As above.
  }
}

const canTell = () => "Notification" in window && isSecureContext && Notification.permission !== "denied";
const willTell = () => wished && canTell() && Notification.permission === "granted";

/** Shows the button where the browser can tell, and whether it is pressed. */
export function offerToTell(root = document) {
  for (const box of root.querySelectorAll("[data-tell-box]")) {
    box.hidden = !canTell();
    box.querySelector("button").setAttribute("aria-pressed", String(willTell()));
    box.querySelector("[role=status]").textContent = willTell() ? say("tellOn") : "";
  }
}

async function turn(button) {
  if (willTell()) remember(false);
  else remember((await Notification.requestPermission()) === "granted");
  offerToTell();
  if (canTell()) return;
  // Refused for good: the button has no use any more, and this page says why it goes.
  const box = button.closest("[data-tell-box]");
  box.hidden = false;
  button.hidden = true;
  box.querySelector("[role=status]").textContent = say("tellDenied");
}

/**
 * Tells that a picture is done, if that was wished and nobody looks. `path` is where a click leads; the same news with
 * the same `path` is shown once.
 */
export async function tell(title, { body, path, icon }) {
  if (document.visibilityState !== "hidden" || !willTell()) return;
  const options = { body, icon, tag: path, data: { url: path } };
  try {
    // Android's browsers show notifications only through a service worker; a click then goes to the worker.
    const worker = await navigator.serviceWorker?.getRegistration();
    if (worker?.active) await worker.showNotification(title, options);
    else leadsTo(path, new Notification(title, options));
  } catch {
    // A browser that has the name but not the thing: the tab's title and icon tell it all the same.
  }
}

function leadsTo(path, notification) {
  notification.addEventListener("click", () => {
    window.focus();
    notification.close();
    if (location.pathname !== path) location.assign(path);
  });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-tell-box] button");
  if (button) turn(button);
});

offerToTell();
