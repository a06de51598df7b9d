// The sheet on the easel: which photographs lie on it, their previews, adding and removing. home.js owns one.

import { announce, megabytes, say } from "./words.js";
import { reduce } from "./reduce.js";

const MOST_AT_ONCE = 12;

/** A random name for one order: sent again unchanged after a broken connection, so that it counts once. */
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Keeps the chosen photographs. `onChange()` is called after every change, `onProblem(sentence)` when a file
 * cannot be taken.
 */
export class Easel {
  constructor({ sheet, list, template, addAnother, mostMegabytes, onChange, onProblem }) {
    Object.assign(this, { sheet, list, template, addAnother, mostMegabytes, onChange, onProblem });
    this.photos = [];
  }

  /** Adds those files that are pictures, as far as the browser can tell. */
  add(files) {
    for (const file of files) {
      if (this.photos.length >= MOST_AT_ONCE) {
        this.onProblem(say("tooMany"));
        break;
      }
      // An empty type is what browsers give for kinds that they do not know, HEIC among them.
      if (file.type && !file.type.startsWith("image/")) {
        this.onProblem(say("notAPicture", { name: file.name }));
        continue;
      }
      this.photos.push(this.#place(file));
    }
    this.#changed();
    if (this.photos.length === 1) announce(say("chosenOne", { name: this.photos[0].file.name }));
    else if (this.photos.length > 1) announce(say("chosenMany", { count: this.photos.length }));
  }

  remove(photo) {
    this.photos = this.photos.filter((other) => other !== photo);
    photo.item.remove();
    URL.revokeObjectURL(photo.preview);
    this.#changed();
  }

  /** The bytes to send: reduced once and kept, so that a second try sends exactly the same. */
  async bytesOf(photo) {
    photo.prepared ??= await reduce(photo.file);
    const { size } = photo.prepared.blob;
    if (size > this.mostMegabytes * 1e6) {
      throw new Error(say("tooLarge", { name: photo.file.name, size: megabytes(size), limit: this.mostMegabytes }));
    }
    return photo.prepared;
  }

  /** A key belongs to one photo with these fields: another style or other words are another order. */
  keyOf(photo, fields) {
    return (photo.keys[JSON.stringify(fields)] ??= newKey());
  }

  #place(file) {
    const item = this.template.content.firstElementChild.cloneNode(true);
    const photo = { file, item, preview: URL.createObjectURL(file), keys: {}, prepared: null };
    const image = item.querySelector("img");
    image.alt = file.name;
    image.src = photo.preview;
    image.addEventListener("error", () => {
      image.hidden = true;
      const blank = item.querySelector(".prints__blank");
      blank.querySelector("[data-name]").textContent = file.name;
      blank.querySelector("[data-words]").textContent = say("noPreview");
      blank.hidden = false;
    });
    const removeButton = item.querySelector("button");
    removeButton.setAttribute("aria-label", say("remove", { name: file.name }));
    removeButton.addEventListener("click", () => {
      this.remove(photo);
      this.sheet.querySelector("#image").focus({ preventScroll: true });
    });
    this.list.append(item);
    return photo;
  }

  #changed() {
    const some = this.photos.length > 0;
    this.sheet.toggleAttribute("data-chosen", some);
    this.list.hidden = this.addAnother.hidden = !some;
    // What is read out is what stands there.
    this.sheet.querySelector("#image").setAttribute("aria-labelledby", some ? this.addAnother.id : "sheet-title");
    this.onChange();
  }
}

