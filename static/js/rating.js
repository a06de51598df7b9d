// A thumb for the picture: sent as soon as it is chosen, and once more with its word. Without scripts the form does it.

import { Refusal, call } from "./api.js";
import { announce, say } from "./words.js";

let sending = Promise.resolve(); // One after the other, so that the last choice is the one that stays.

async function send(form) {
  const fields = new FormData(form);
  const words = form.querySelector("[data-rating-words]");
  const rating = { verdict: fields.get("verdict"), word: fields.get("word").trim() || null };
  try {
    await call("POST", `/api${form.getAttribute("action")}`, rating);
    words.textContent = rating.word ? say("ratedWithWord") : say("rated");
  } catch (problem) {
    if (!(problem instanceof Refusal)) throw problem;
    words.textContent = problem.message;
  }
  announce(words.textContent);
}

function queue(form) {
  sending = sending.then(() => send(form));
}

document.addEventListener("change", (event) => {
  if (event.target.matches("form[data-rating] [name=verdict]")) queue(event.target.form);
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-rating]");
  if (!form) return;
  event.preventDefault();
  queue(form);
});
