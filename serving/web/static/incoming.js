// What comes in from outside of the page: chosen, dropped and pasted pictures, and addresses of pictures.

import { ROOT } from "./api.js";
import { $, $input } from "./dom.js";

/** @typedef {import("./place.js").Example} Example */

const PRODUCT = "application/x-lookalike-product";

/**
 * @param {{onPicture: (file: File) => void, onExample: (example: Example, target: Element | null) => void}} handlers
 */
export function listen({ onPicture, onExample }) {
  for (const id of ["file", "camera"]) {
    const take = () => {
      const file = $input(id).files?.[0];
      $input(id).value = "";
      if (file) onPicture(file);
    };
    $(id).addEventListener("change", take);
    setTimeout(take); // chosen before this module was there
  }
  document.addEventListener("paste", (event) => {
    const file = findFile(event.clipboardData);
    const typed = event.target instanceof HTMLInputElement;
    const address = typed ? null : findAddress(event.clipboardData?.getData("text/plain") ?? "");
    if (!file && !address) return;
    event.preventDefault();
    if (file) onPicture(file);
    else if (address) onExample(address, null);
  });
  listenToDrops(onPicture, onExample);
}

/**
 * @param {(file: File) => void} onPicture
 * @param {(example: Example, target: Element | null) => void} onExample
 */
function listenToDrops(onPicture, onExample) {
  let depth = 0;
  const over = (/** @type {number} */ change) => {
    depth = Math.max(0, depth + change);
    document.body.classList.toggle("dropping", depth > 0);
  };
  document.addEventListener("dragenter", (event) => {
    if (isWelcome(event)) { event.preventDefault(); over(1); }
  });
  document.addEventListener("dragleave", (event) => { if (isWelcome(event)) over(-1); });
  document.addEventListener("dragover", (event) => { if (isWelcome(event)) event.preventDefault(); });
  document.addEventListener("dragend", () => over(-depth));
  document.addEventListener("drop", (event) => {
    if (!isWelcome(event)) return;
    event.preventDefault();
    over(-depth);
    const target = event.target instanceof Element ? event.target : null;
    const product = event.dataTransfer?.getData(PRODUCT);
    const file = findFile(event.dataTransfer);
    const address = findAddress(event.dataTransfer?.getData("text/uri-list") ?? "");
    if (product) onExample({ kind: "product", value: product }, target);
    else if (file) onPicture(file);
    else if (address) onExample(address, target);
  });
}

/** @param {DragEvent} event */
const isWelcome = (event) =>
  [...(event.dataTransfer?.types ?? [])].some((type) => [PRODUCT, "Files", "text/uri-list"].includes(type));

/** @param {DataTransfer | null} data */
const findFile = (data) => [...(data?.files ?? [])].find((file) => file.type.startsWith("image/")) ?? data?.files?.[0];

/**
 * Return the example that an address stands for: a product of this server, or a picture elsewhere.
 *
 * @param {string} text
 * @returns {Example | null}
 */
export function findAddress(text) {
  const first = text.split("\n").map((line) => line.trim()).find((line) => line && !line.startsWith("#")) ?? "";
  if (!/^https?:\/\/\S+$/i.test(first)) return null;
  const products = `${ROOT.href}products/`;
  const path = first.startsWith(products) ? first.slice(products.length).split("?")[0] : "";
  if (path.endsWith("/image")) return { kind: "product", value: decodeURIComponent(path.slice(0, -"/image".length)) };
  return { kind: "url", value: first };
}

/** @param {DragEvent} event @param {string} id */
export function dragProduct(event, id) {
  event.dataTransfer?.setData(PRODUCT, id);
  if (event.dataTransfer) event.dataTransfer.effectAllowed = "copy";
}
