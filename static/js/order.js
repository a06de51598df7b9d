// The order form apart from its photographs: which way it goes, the words with their counter, what stands behind "more".

import { announce, say } from "./words.js";

const TYPED = ["prompt", "width", "height", "seed"];
const FROM_WORDS = "text-to-image";
const NEAR_THE_LIMIT = 100; // Characters; from here on the counter is also spoken.
const SPOKEN_AFTER = 800; // Milliseconds without another key.

/** Writes how long the words are beside them, and says it politely when little room is left. */
function countCharacters(field, counter) {
  const limit = field.maxLength;
  const grouped = new Intl.NumberFormat(document.documentElement.lang || "en");
  let pause = 0;
  const show = () => {
    counter.textContent = say("characters", { count: grouped.format(field.value.length), limit: grouped.format(limit) });
  };
  field.addEventListener("input", () => {
    show();
    clearTimeout(pause);
    const left = limit - field.value.length;
    if (left <= NEAR_THE_LIMIT) pause = setTimeout(() => announce(say("charactersLeft", { count: left })), SPOKEN_AFTER);
  });
  addEventListener("pageshow", show); // The browser may have put back what was typed before.
  show();
}

export class OrderForm {
  constructor(form) {
    this.form = form;
    this.prompt = form.elements.prompt;
    countCharacters(this.prompt, document.querySelector("#prompt-count [data-count]"));
  }

  get isFromWords() {
    return new FormData(this.form).get("mode") === FROM_WORDS;
  }

  /** A photograph has come while words were wanted: the visitor means the photograph. */
  turnToPhotos() {
    const photos = document.getElementById("mode-photo");
    if (photos) photos.checked = true;
  }

  /** The fields of the call to the API; numbers win over the named size, and what was left empty is left out. */
  fields() {
    const form = new FormData(this.form);
    const named = form.get(this.isFromWords ? "words_size" : "photo_size") ?? "";
    const hasNumbers = form.get("width") || form.get("height");
    const [width, height] = hasNumbers ? [form.get("width"), form.get("height")] : named.split("x");
    const fields = { mode: form.get("mode"), style: form.get("style"), prompt: form.get("prompt"), width, height };
    fields.seed = form.get("seed");
    fields.public = form.get("public") && "true";
    return Object.fromEntries(Object.entries(fields).filter(([, value]) => value));
  }

  /** Shows which fields were refused, opens what hides them, and puts the focus into the first. */
  markRefused(names) {
    for (const field of this.form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
    const refused = names.filter((name) => TYPED.includes(name)).map((name) => this.form.elements[name]);
    for (const field of refused) {
      field.setAttribute("aria-invalid", "true");
      field.closest("details")?.setAttribute("open", "");
    }
    refused[0]?.focus();
  }
}
