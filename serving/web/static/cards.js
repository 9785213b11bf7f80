// Cards: a product in a grid. Its frame is square whatever the shape of the picture, and is there before the picture.

import { showPicture } from "./api.js";
import { button, make } from "./dom.js";
import { dragProduct } from "./incoming.js";
import { describe, findPrice, nameOf } from "./roles.js";
import { WEAK, nameCloseness } from "./words.js";

/**
 * @typedef {import("./api.js").Product} Product
 * @typedef {{open: (id: string) => void, like: (id: string) => void, add: (id: string, isLike: boolean) => void,
 *   address: (id: string) => string}} CardActions
 */

const SIZES = [256, 512];
const WIDTHS = "(max-width: 720px) 128px, 220px"; // on small screens less than there is: lines are slow there
const LONGEST = 1.6; // a picture that is longer is shown whole, and not filled into its frame

/**
 * @param {Product} product
 * @param {number} chance the score of two products that were chosen by chance
 * @param {CardActions} actions
 */
export function makeCard(product, chance, actions) {
  const link = make("a", { className: "card-link", href: actions.address(product.id), draggable: true });
  link.append(makeFrame(product), makeCaption(product, chance));
  link.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    actions.open(product.id);
  });
  link.addEventListener("dragstart", (event) => dragProduct(event, product.id));
  const item = make("li", { className: "card" }, link, makeActions(product, actions));
  item.dataset.id = product.id;
  if (isWeak(product, chance)) item.classList.add("weak");
  if (product.hidden) {
    const label = `+${product.hidden} like it`;
    item.append(button("duplicates", label, () => actions.open(product.id)));
  }
  return item;
}

/** @param {Product} product @param {number} chance */
export const isWeak = (product, chance) =>
  product.score !== undefined && !product.why && nameCloseness(product.score, chance) === WEAK;

/** @param {Product} product */
export function makeFrame(product) {
  const image = make("img", { alt: "", decoding: "async", loading: "lazy", sizes: WIDTHS, width: 256, height: 256 });
  const frame = make("span", { className: "frame" }, image);
  image.draggable = false;
  image.addEventListener("load", () => fit(image));
  image.addEventListener("error", () => frame.classList.add("broken"));
  showPicture(image, product.image_url, SIZES);
  return frame;
}

/** @param {HTMLImageElement} image */
function fit(image) {
  const ratio = image.naturalWidth / image.naturalHeight;
  image.parentElement?.classList.toggle("whole", ratio > LONGEST || ratio < 1 / LONGEST);
  image.classList.add("there");
}

/** @param {Product} product @param {number} chance */
function makeCaption(product, chance) {
  const caption = make("span", { className: "caption" });
  caption.append(make("span", { className: "title" }, nameOf(product)));
  const price = findPrice(product);
  caption.append(make("span", { className: "line-of-two" }));
  const line = /** @type {HTMLElement} */ (caption.lastElementChild);
  if (price) line.append(makePrice(price));
  line.append(make("span", { className: "about" }, describe(product)));
  if (product.why) caption.append(makeWhy(product, product.why, chance));
  else if (product.score !== undefined) caption.append(makeCloseness(product.score, chance));
  return caption;
}

/** @param {{now: string, before: string}} price */
export function makePrice({ now, before }) {
  const written = make("span", { className: before ? "price reduced" : "price" }, now);
  if (before) written.append(" ", make("s", {}, before));
  return written;
}

/** @param {number} score @param {number} chance */
export function makeCloseness(score, chance) {
  const words = nameCloseness(score, chance);
  const level = words === "The same" ? "same" : words.split(" ").join("-").toLowerCase();
  const figure = make("span", { className: "figure" }, score.toFixed(2));
  return make("span", { className: `closeness ${level}`, title: `Score ${score.toFixed(3)}` }, words, figure);
}

/** @param {Product} product @param {NonNullable<Product["why"]>} why @param {number} chance */
function makeWhy({ score = 0 }, { scores, words }, chance) {
  const looks = scores.picture === undefined ? [] : [nameCloseness(scores.picture, chance)];
  const named = [...new Set(words.map(({ found }) => found))];
  const said = [...looks, named.length ? `has ${named.join(", ")}` : nameChannel(scores)].filter(Boolean).join(" · ");
  const figure = make("span", { className: "figure" }, score.toFixed(2));
  return make("span", { className: "closeness why", title: `Score ${score.toFixed(3)}` }, said, figure);
}

/** @param {Record<string, number>} scores What a product without any of the words was found by. */
function nameChannel({ meaning = 0, looks = 0, shows = 0, colour = 0 }) {
  const seen = Math.max(looks, shows);
  if (meaning || seen) return meaning > seen ? "by its title" : "by its picture";
  return colour ? "by its colour" : "";
}

/** @param {Product} product @param {CardActions} actions */
function makeActions({ id, title }, actions) {
  const name = title || id;
  return make("div", { className: "card-actions" },
    button("round", `More like ${name}`, () => actions.add(id, true), "plus"),
    button("round", `Less like ${name}`, () => actions.add(id, false), "minus"),
    button("round only", `Lookalikes of ${name}`, () => actions.like(id), "look"));
}

/** @param {number} count */
export function makeSkeletons(count) {
  return Array.from({ length: count }, () => {
    const caption = make("span", { className: "caption" }, make("i"), make("i"));
    return make("li", { className: "card skeleton", "aria-hidden": "true" }, make("span", { className: "frame" }), caption);
  });
}
