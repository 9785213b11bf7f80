// The query: its picture with the crop box, and the tray of further examples.

import { getProduct, showPicture } from "./api.js";
import { makeCropBox } from "./crop.js";
import { $, $image, $input, button, icon, isPhone, make } from "./dom.js";
import { findPicture } from "./pictures.js";
import { nameOf } from "./roles.js";

/**
 * @typedef {import("./place.js").Place} Place
 * @typedef {import("./place.js").Example} Example
 * @typedef {import("./place.js").Crop} Crop
 * @typedef {{crop: (crop: Crop | null) => void, call: (text: string) => void, remove: (example: Example, isLike: boolean) => void,
 *   open: (id: string) => void}} QueryActions
 */

/** @type {QueryActions} */
let actions;
/** @type {ReturnType<typeof makeCropBox>} */
let cropBox;
let asked = "";
/** @type {string | null} */
let pictureAddress = null;

/** @param {QueryActions} given */
export function prepareQuery(given) {
  actions = given;
  cropBox = makeCropBox($("stage"), actions.crop);
  $("also").addEventListener("submit", (event) => { event.preventDefault(); actions.call($input("also-text").value); });
  $("whole").addEventListener("click", () => actions.crop(null));
  $("enlarge").addEventListener("click", () => enlarge(!document.body.classList.contains("cropping")));
  $image("picture").addEventListener("click", () => { if (isPhone.matches) enlarge(true); });
  $image("picture").addEventListener("load", () => {
    const { naturalWidth, naturalHeight } = $image("picture");
    $("stage").style.aspectRatio = `${naturalWidth} / ${naturalHeight}`;
    $("stage").style.setProperty("--ratio", String(naturalWidth / naturalHeight));
    $("query").classList.remove("blind");
  });
  $image("picture").addEventListener("error", () => $("query").classList.add("blind"));
}

/** @param {boolean} isLarge On a phone the picture is small, so that results are in sight, until one crops it. */
function enlarge(isLarge) {
  document.body.classList.toggle("cropping", isLarge);
  $("enlarge").textContent = isLarge ? "Done" : "Crop";
  $("enlarge").setAttribute("aria-pressed", String(isLarge));
}

/** @param {Place} place */
export function showQuery(place) {
  const [first, ...others] = place.likes;
  $input("also-text").value = first ? place.text : "";
  if (!first) { asked = ""; enlarge(false); return; }
  const name = `${first.kind}:${first.value}`;
  if (name !== asked) {
    asked = name;
    enlarge(false);
    showFirst(first, () => asked === name);
  }
  cropBox.set(place.crop);
  $("whole").hidden = !place.crop;
  const tray = [
    ...others.map((example) => makeExample(example, true)),
    ...place.unlikes.map((value) => makeExample({ kind: "product", value }, false)),
  ];
  $("tray").hidden = !tray.length;
  $("tray-list").replaceChildren(...tray);
}

/** @param {Example} example @param {() => boolean} isWanted */
async function showFirst(example, isWanted) {
  const image = $image("picture");
  $("query").classList.add("blind");
  $("query-name").replaceChildren(sayExample(example));
  image.removeAttribute("srcset");
  image.removeAttribute("src");
  if (pictureAddress) URL.revokeObjectURL(pictureAddress);
  pictureAddress = null;
  try {
    if (example.kind === "picture") {
      const picture = await findPicture(example.value);
      if (!isWanted()) return;
      pictureAddress = URL.createObjectURL(picture);
      image.src = pictureAddress;
    } else if (example.kind === "product") {
      const product = await getProduct(example.value);
      if (!isWanted()) return;
      const open = make("button", { type: "button", className: "plain", onclick: () => actions.open(product.id) }, nameOf(product));
      $("query-name").replaceChildren(open);
      await showPicture(image, product.image_url, [1024]);
    }
  } catch { /* the results say what is wrong */ }
}

/** @param {Example} example */
function sayExample({ kind, value }) {
  if (kind === "picture") return "Your picture";
  if (kind === "product") return value;
  try {
    return `A picture of ${new URL(value).host}`;
  } catch {
    return "A picture of another site";
  }
}

/** @param {Example} example @param {boolean} isLike */
function makeExample(example, isLike) {
  const item = make("li", { className: isLike ? "example like" : "example unlike" });
  const image = make("img", { alt: "", width: 64, height: 64 });
  const mark = make("span", { className: "mark" }, icon(isLike ? "plus" : "minus"));
  const remove = button("round", `Remove: ${isLike ? "more" : "less"} like ${sayExample(example)}`, () => actions.remove(example, isLike), "close");
  item.append(image, mark, remove);
  showExample(example, image, remove, isLike).catch(() => item.classList.add("broken"));
  return item;
}

/** @param {Example} example @param {HTMLImageElement} image @param {HTMLElement} remove @param {boolean} isLike */
async function showExample(example, image, remove, isLike) {
  if (example.kind === "picture") {
    image.src = URL.createObjectURL(await findPicture(example.value));
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  } else if (example.kind === "product") {
    const product = await getProduct(example.value);
    const label = `Remove: ${isLike ? "more" : "less"} like ${nameOf(product)}`;
    remove.setAttribute("aria-label", label);
    remove.title = label;
    await showPicture(image, product.image_url, [128]);
  }
}
