// Every way in which a photograph reaches the page: choosing, taking, dropping anywhere, pasting. home.js listens.

/** Calls `onFiles(files)` with a non-empty array whenever the visitor hands over files. */
export function listenForPhotos({ inputs, veil, onFiles }) {
  const hand = (list) => {
    const files = [...(list ?? [])];
    if (files.length) onFiles(files);
  };

  for (const input of inputs) {
    input.addEventListener("change", () => {
      hand(input.files);
      input.value = ""; // So that the same photo can be chosen again after it was removed.
    });
  }

  document.addEventListener("paste", (event) => {
    if (!event.clipboardData?.files.length) return;
    event.preventDefault();
    hand(event.clipboardData.files);
  });

  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0; // dragenter and dragleave also fire for every element below the pointer.
  const show = (dragging) => {
    veil.hidden = !dragging;
    document.body.classList.toggle("is-dragging", dragging);
  };
  document.addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    depth += 1;
    show(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!carriesFiles(event)) return;
    depth = Math.max(0, depth - 1);
    if (depth === 0) show(false);
  });
  document.addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    show(false);
    hand(event.dataTransfer.files);
  });
}
