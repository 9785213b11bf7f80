// Searching: from a place to the products that the server finds for it.

import { getPicture, getProduct, listProducts, post } from "./api.js";
import { hasLines, writeConditions } from "./conditions.js";
import { encode, findPicture } from "./pictures.js";
import { writeCrop } from "./place.js";

/**
 * @typedef {import("./api.js").Product} Product
 * @typedef {import("./place.js").Place} Place
 * @typedef {import("./place.js").Example} Example
 * @typedef {{offset: number, count: number, snapshot: string | null}} Span
 * @typedef {{snapshot: string, products: Product[], total: number | null, ms: number | null}} Found
 */

const COLLAPSE = "duplicates";
const LISTED = 100;
const CROPPED_SIDE = 1024;

/** @param {Place} place */
export const isSearch = (place) => place.likes.length > 0;
/** @param {Place} place */
export const isListing = (place) => !isSearch(place) && (Boolean(place.find) || place.filters.size > 0);

/** @param {Place} place @param {Span} span @param {AbortSignal} signal @returns {Promise<Found>} */
export async function find(place, span, signal) {
  return isSearch(place) ? search(place, span, signal) : list(place, span, signal);
}

/** @param {Place} place @param {Span} span @param {AbortSignal} signal @returns {Promise<Found>} */
async function list(place, { offset, count, snapshot }, signal) {
  const conditions = writeConditions(place.filters).map((one) => /** @type {[string, string]} */ (["filter", one]));
  /** @type {Array<[string, string]>} */
  const parameters = [["limit", String(Math.min(count, LISTED))], ["offset", String(offset)], ...conditions];
  if (place.find) parameters.push(["find", place.find]);
  if (snapshot) parameters.push(["snapshot", snapshot]);
  const reply = await listProducts(parameters, signal);
  return { snapshot: reply.snapshot, products: reply.products, total: reply.total, ms: null };
}

/** @param {Place} place @param {Span} span @param {AbortSignal} signal @returns {Promise<Found>} */
async function search(place, { offset, count, snapshot }, signal) {
  const filter = writeConditions(place.filters);
  const options = { k: count, offset, filter, collapse: COLLAPSE, ...(snapshot ? { snapshot } : {}) };
  const body = await writeQuery(place, options, signal);
  signal.throwIfAborted();
  const reply = /** @type {import("./api.js").SearchReply} */ (await post("search", body, signal));
  return { snapshot: reply.snapshot, products: reply.hits, total: null, ms: reply.took_ms };
}

/** @param {Place} place @param {Record<string, any>} options @param {AbortSignal} signal */
async function writeQuery(place, options, signal) {
  const [first] = place.likes;
  if (place.likes.length > 1 || place.unlikes.length) {
    const positive = await Promise.all(place.likes.map((one, at) => writeExample(one, at ? null : place.crop, signal)));
    const negative = place.unlikes.map((id) => ({ product_id: id }));
    return { positive, ...(negative.length ? { negative } : {}), ...options };
  }
  const picture = await pictureOf(first, place.crop, signal);
  if (picture && !options.filter.some(hasLines)) return writeForm(picture, place.crop, options);
  return { ...(await writeExample(first, place.crop, signal)), ...options };
}

/** @param {Blob} picture @param {Place["crop"]} crop @param {Record<string, any>} options A third smaller than JSON. */
function writeForm(picture, crop, options) {
  const form = new FormData();
  form.append("image", picture, "query");
  if (crop) form.append("crop", writeCrop(crop));
  for (const [name, value] of Object.entries(options)) {
    for (const one of [value].flat()) form.append(name, String(one));
  }
  return form;
}

/** @param {Example} example @param {Place["crop"]} crop @param {AbortSignal} signal */
async function writeExample(example, crop, signal) {
  const cropped = crop ? { crop } : {};
  const picture = await pictureOf(example, crop, signal);
  if (picture) return { image: await encode(picture), ...cropped };
  return example.kind === "url" ? { url: example.value, ...cropped } : { product_id: example.value };
}

/** @param {Example} example @param {Place["crop"]} crop @param {AbortSignal} signal A part of a product is a picture. */
async function pictureOf(example, crop, signal) {
  if (example.kind === "picture") return findPicture(example.value);
  if (example.kind === "product" && crop) {
    return getPicture((await getProduct(example.value, signal)).image_url, CROPPED_SIDE);
  }
  return null;
}

/** @type {Map<string, Promise<number>>} */
const chances = new Map();
const DEPTHS = [4000, 400, 50];

/**
 * Return the score of two products that were chosen by chance: that of the middle of what there is, or of far down in
 * a large catalogue. It is measured once for each snapshot.
 *
 * @param {string} snapshot
 * @param {Product[]} products
 * @returns {Promise<number>}
 */
export function findChance(snapshot, products) {
  const known = chances.get(snapshot);
  if (known || !products.length) return known ?? Promise.resolve(0);
  const measured = measureChance(products[Math.floor(products.length / 2)].id).catch(() => 0);
  chances.set(snapshot, measured);
  return measured;
}

/** @param {string} id */
async function measureChance(id) {
  const queries = DEPTHS.map((offset) => ({ product_id: id, k: 1, offset, fields: ["score"] }));
  /** @type {{results: Array<{hits?: Product[]}>}} */
  const { results } = await post("search/batch", { queries });
  const deepest = results.find(({ hits }) => hits?.length)?.hits?.[0].score ?? 0;
  return Math.min(Math.max(deepest, 0), 0.9);
}

/**
 * Return what the catalogue counts of some attributes, among the products that satisfy conditions.
 *
 * @param {string[]} names
 * @param {string[]} conditions
 * @param {AbortSignal} [signal]
 */
export function countValues(names, conditions, signal) {
  /** @type {Array<[string, string]>} */
  const parameters = [["limit", "1"], ...conditions.map((one) => /** @type {[string, string]} */ (["filter", one]))];
  if (names.length) parameters.push(["facets", names.join(",")]);
  return listProducts(parameters, signal);
}
