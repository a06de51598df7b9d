// The picture up close: a dialog in which it is enlarged by buttons, keys, wheel and two fingers, and moved by dragging,
// arrows and scrolling. Without scripts its link opens the picture itself.

import { percent } from "./words.js";

const LARGEST = 4;
const STEP = 1.5;
const ARROW = 80; // Pixels.
const ARROWS = { ArrowLeft: [-ARROW, 0], ArrowRight: [ARROW, 0], ArrowUp: [0, -ARROW], ArrowDown: [0, ARROW] };

class Zoom {
  constructor(dialog) {
    this.dialog = dialog;
    this.view = dialog.querySelector("[data-zoom-view]");
    this.image = dialog.querySelector("img");
    this.value = dialog.querySelector("[data-zoom-value]");
    this.scale = 1;
    this.isFitted = true; // Whether it follows the size of the window.
    this.#listen();
  }

  open() {
    this.dialog.showModal();
    this.view.focus();
    this.isFitted = true;
    this.fit();
  }

  /** The scale at which the whole picture is seen, never larger than it is. */
  get whole() {
    const { clientWidth, clientHeight } = this.view;
    return Math.min(1, clientWidth / this.image.naturalWidth, clientHeight / this.image.naturalHeight);
  }

  fit() {
    if (!this.image.naturalWidth) return; // Not loaded yet: its load event comes here again.
    this.scaleTo(this.whole);
    this.isFitted = true;
  }

  /** Enlarges to this scale (1 is a pixel for a pixel) and keeps the point of the picture that lies under `at` there. */
  scaleTo(wished, at = this.#middle()) {
    const before = this.image.getBoundingClientRect();
    const across = before.width ? (at.x - before.left) / before.width : 0.5;
    const down = before.height ? (at.y - before.top) / before.height : 0.5;
    this.scale = Math.min(LARGEST, Math.max(this.whole, wished));
    this.isFitted = this.scale === this.whole;
    this.image.style.inlineSize = `${this.image.naturalWidth * this.scale}px`;
    const after = this.image.getBoundingClientRect();
    this.view.scrollBy(after.left + across * after.width - at.x, after.top + down * after.height - at.y);
    this.value.textContent = percent(this.scale);
    this.dialog.querySelector('[data-zoom-by="out"]').disabled = this.isFitted;
    this.dialog.querySelector('[data-zoom-by="in"]').disabled = this.scale === LARGEST;
  }

  by = {
    in: () => this.scaleTo(this.scale * STEP),
    out: () => this.scaleTo(this.scale / STEP),
    whole: () => this.fit(),
    full: () => this.scaleTo(1),
  };

  #middle() {
    const { left, top, width, height } = this.view.getBoundingClientRect();
    return { x: left + width / 2, y: top + height / 2 };
  }

  #listen() {
    this.image.addEventListener("load", () => this.fit());
    new ResizeObserver(() => this.dialog.open && (this.isFitted ? this.fit() : this.scaleTo(this.scale))).observe(this.view);
    this.dialog.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button?.dataset.zoomBy) this.by[button.dataset.zoomBy]();
      if (button && "zoomClose" in button.dataset) this.dialog.close();
    });
    this.dialog.addEventListener("keydown", (event) => this.#onKey(event));
    this.view.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    this.view.addEventListener("dblclick", (event) => {
      const at = { x: event.clientX, y: event.clientY };
      if (this.isFitted) this.scaleTo(this.whole < 1 ? 1 : 2, at);
      else this.fit();
    });
    this.#listenForDragging();
    this.#listenForFingers();
  }

  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // The browser's own.
    const move = ARROWS[event.key];
    const name = { "+": "in", "=": "in", "-": "out", 0: "whole", 1: "full" }[event.key];
    if (!move && !name) return;
    event.preventDefault();
    if (move) this.view.scrollBy(...move);
    else this.by[name]();
  }

  /** Two fingers on a trackpad arrive as a wheel with the control key; a plain wheel scrolls. */
  #onWheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    this.scaleTo(this.scale * Math.exp(-event.deltaY / 200), { x: event.clientX, y: event.clientY });
  }

  #listenForDragging() {
    this.view.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && event.button === 0) this.view.setPointerCapture(event.pointerId);
    });
    this.view.addEventListener("pointermove", (event) => {
      if (this.view.hasPointerCapture(event.pointerId)) this.view.scrollBy(-event.movementX, -event.movementY);
    });
    this.view.addEventListener("dragstart", (event) => event.preventDefault());
  }

  #listenForFingers() {
    let start = null;
    const spread = ([a, b]) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
    const between = ([a, b]) => ({ x: (a.clientX + b.clientX) / 2, y: (a.clientY + b.clientY) / 2 });
    this.view.addEventListener("touchstart", ({ touches }) => {
      start = touches.length === 2 ? { spread: spread(touches), scale: this.scale } : null;
    }, { passive: true });
    this.view.addEventListener("touchmove", (event) => {
      if (!start || event.touches.length !== 2) return; // One finger scrolls.
      event.preventDefault();
      this.scaleTo((start.scale * spread(event.touches)) / start.spread, between(event.touches));
    }, { passive: false });
  }
}

const zooms = new WeakMap();

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-zoom]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const dialog = document.getElementById("zoom");
  if (!zooms.has(dialog)) zooms.set(dialog, new Zoom(dialog));
  zooms.get(dialog).open();
});
