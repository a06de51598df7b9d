// Makes a large photograph small before it travels. upload.js calls it once for each photo.

const LONGEST_SIDE = 2048; // What the server keeps; sending more would be thrown away there.
const SMALL_ENOUGH = 1.5e6; // Bytes. Below this, and within the longest side, the original travels unchanged.
const QUALITY = 0.92;

function toJpeg(bitmap, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  // JPEG has no transparency: white below, as the server would put it.
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return new Promise((resolve) => {
    canvas.toBlob((blob) => {
      canvas.width = canvas.height = 0; // Phones give canvas memory back only when told.
      resolve(blob);
    }, "image/jpeg", QUALITY);
  });
}

/**
 * The bytes to send for this file: `{blob, name}`. A photo that is already small, or that this browser
 * cannot decode (HEIC in most of them), is returned as it is: the server reads more kinds than browsers do.
 */
export async function reduce(file) {
  const unchanged = { blob: file, name: file.name || "photo" };
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return unchanged;
  }
  try {
    const scale = LONGEST_SIDE / Math.max(bitmap.width, bitmap.height);
    if (scale >= 1 && file.size <= SMALL_ENOUGH) return unchanged;
    const shrink = Math.min(1, scale);
    const width = Math.max(1, Math.round(bitmap.width * shrink));
    const height = Math.max(1, Math.round(bitmap.height * shrink));
    const blob = await toJpeg(bitmap, width, height);
    // A canvas that is too large for a phone gives nothing or a stub: then the original goes.
    if (!blob || blob.size >= file.size) return unchanged;
    return { blob, name: unchanged.name.replace(/\.\w+$/, "") + ".jpg" };
  } catch {
    return unchanged;
  } finally {
    bitmap.close();
  }
}
