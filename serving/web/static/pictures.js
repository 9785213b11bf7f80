// Pictures that people show: made small, and kept in this tab, so that Back and reload find them.

import { Problem } from "./api.js";

const MAX_SIDE = 800; // no encoder looks at more, and a photo of 12 megapixels takes long to send
const SMALL_BYTES = 200 * 1024;
const QUALITY = 0.85;
const KEPT = "picture:";
const MAX_KEPT_BYTES = 1024 * 1024;

/** @type {Map<string, Promise<Blob>>} */
const held = new Map();

/**
 * Take a picture; return its name in this tab.
 *
 * @param {Blob} file
 */
export function addPicture(file) {
  const name = `${Date.now().toString(36)}${Math.floor(Math.random() * 1296).toString(36)}`;
  const small = shrink(file);
  held.set(name, small);
  small.then((picture) => keep(name, picture));
  return name;
}

/** @param {string} name @returns {Promise<Blob>} */
export function findPicture(name) {
  const known = held.get(name);
  if (known) return known;
  const kept = sessionStorage.getItem(KEPT + name);
  if (!kept) return Promise.reject(new Problem("picture_lost", ""));
  const picture = Promise.resolve(decode(kept));
  held.set(name, picture);
  return picture;
}

/**
 * Return an upright copy that is no larger than needed. What the browser cannot decode (TIFF, say) goes to the server
 * as it is.
 *
 * @param {Blob} file
 * @returns {Promise<Blob>}
 */
async function shrink(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
    if (scale === 1 && file.size <= SMALL_BYTES) return file;
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    context.fillStyle = "#fff"; // as the server does with transparency
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return await new Promise((done) => canvas.toBlob((copy) => done(copy ?? file), "image/jpeg", QUALITY));
  } catch {
    return file;
  }
}

/** @param {string} name @param {Blob} picture */
async function keep(name, picture) {
  if (picture.size > MAX_KEPT_BYTES) return;
  const written = await encode(picture);
  while (true) {
    try {
      sessionStorage.setItem(KEPT + name, written);
      return;
    } catch {
      const oldest = Object.keys(sessionStorage).filter((one) => one.startsWith(KEPT)).sort()[0];
      if (!oldest) return;
      sessionStorage.removeItem(oldest);
    }
  }
}

/** @param {Blob} picture @returns {Promise<string>} as a `data:` address, which the server understands as well */
export function encode(picture) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => done(String(reader.result)));
    reader.addEventListener("error", () => failed(new Problem("image_damaged", "")));
    reader.readAsDataURL(picture);
  });
}

/** @param {string} written */
function decode(written) {
  const [head, base64] = written.split(",");
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5).split(";")[0] });
}
