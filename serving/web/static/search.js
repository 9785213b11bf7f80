// Searching: from a place to the products that the server finds for it.

import { Problem, getPicture, getProduct, listProducts, post } from "./api.js";
import { hasLines, writeConditions } from "./conditions.js";
import { encode, findPicture } from "./pictures.js";
import { LIMITS } from "./limits.js";
import { nameResults, writeCrop } from "./place.js";
import { leastClose } from "./words.js";

/**
 * @typedef {import("./api.js").Product} Product
 * @typedef {import("./place.js").Place} Place
 * @typedef {import("./place.js").Example} Example
 * @typedef {{offset: number, count: number, snapshot: string | null}} Span
 * @typedef {{snapshot: string, products: Product[], total: number | null, matching: number | null, ms: number | null,
 *   understood?: import("./api.js").Understood}} Found
 */

const COLLAPSE = "duplicates";
const LISTED = 100;
const REACH = 1000; // hits that are sorted and counted, of those that are close enough
const FEW = 24; // so many are sorted where none is
const CROPPED_SIDE = 1024;

/** Texts that no title has a word of: they may be numbers of products, or their snapshot has no words. */
const looked = new Set();

/** @param {Place} place */
export const isSearch = (place) => place.likes.length > 0 || (Boolean(place.text) && !looked.has(nameResults(place)));
/** @param {Place} place */
export const isListing = (place) => !isSearch(place) && (Boolean(place.text || place.find || place.sort) || place.filters.size > 0);

/** @param {Place} place @param {Span} span @param {AbortSignal} signal @returns {Promise<Found>} */
export async function find(place, span, signal) {
  if (isSearch(place)) {
    const found = await searchOrNone(place, span, signal);
    if (found && (found.products.length || span.offset || !isTextOnly(place))) return found;
    looked.add(nameResults(place));
  }
  return list(place, span, signal);
}

/** @param {Place} place */
const isTextOnly = (place) => !place.likes.length;

/** @param {Place} place @param {Span} span @param {AbortSignal} signal @returns {Promise<Found | null>} */
async function searchOrNone(place, span, signal) {
  try {
    return await search(place, span, signal);
  } catch (error) {
    const hasNone = error instanceof Problem && (error.code === "no_text_channel" || error.code === "bad_text");
    if (hasNone && isTextOnly(place)) return null;
    throw error;
  }
}

/** @param {Place} place @param {Span} span @param {AbortSignal} signal @returns {Promise<Found>} */
async function list(place, { offset, count, snapshot }, signal) {
  const conditions = writeConditions(place.filters).map((one) => /** @type {[string, string]} */ (["filter", one]));
  /** @type {Array<[string, string]>} */
  const parameters = [["limit", String(Math.min(count, LISTED))], ["offset", String(offset)], ...conditions];
  if (place.find || place.text) parameters.push(["find", place.find || place.text]);
  if (place.sort) parameters.push(["sort", place.sort]);
  if (snapshot) parameters.push(["snapshot", snapshot]);
  const reply = await listProducts(parameters, signal);
  return { snapshot: reply.snapshot, products: reply.products, total: reply.total, matching: null, ms: null };
}

/** @param {Place} place @param {Span} span @param {AbortSignal} signal @returns {Promise<Found>} */
async function search(place, { offset, count, snapshot }, signal) {
  const filter = writeConditions(place.filters);
  const explain = place.text ? { explain: true } : {};
  const options = { k: count, offset, filter, collapse: COLLAPSE, ...explain, ...(snapshot ? { snapshot } : {}) };
  const ask = (/** @type {object} */ more) => askFor(place, { ...options, ...more }, signal);
  let reply = await ask(place.sort ? { sort: place.sort, ...(await closeEnough(place, signal)) } : {});
  if (place.sort && !offset && !reply.hits.length) reply = await ask({ sort: place.sort, reach: FEW });
  const { snapshot: id, hits, total, took_ms: ms, understood } = reply;
  return { snapshot: id, products: hits, total: null, matching: total, ms, understood };
}

/**
 * Count the values of some attributes among the hits that are close enough, each without the choice of itself.
 *
 * @param {Place} place
 * @param {string[]} facets
 * @param {AbortSignal} signal
 * @returns {Promise<Record<string, import("./api.js").Facet>>}
 */
export async function countHits(place, facets, signal) {
  const options = { k: 1, fields: ["score"], filter: writeConditions(place.filters), collapse: COLLAPSE };
  const reply = await askFor(place, { ...options, facets, facets_of: "hits", ...(await closeEnough(place, signal)) }, signal);
  return reply.facets ?? {};
}

/** @param {Place} place @param {Record<string, any>} options @param {AbortSignal} signal */
async function askFor(place, options, signal) {
  const body = await writeQuery(place, options, signal);
  signal.throwIfAborted();
  return /** @type {import("./api.js").SearchReply} */ (await post("search", body, signal));
}

/** @param {Place} place @param {AbortSignal} signal What is less alike is neither sorted nor counted: it is what nobody searched for. */
async function closeEnough(place, signal) {
  if (place.text) return { reach: REACH }; // scores of words are no scores of pictures
  if (!lastChance) {
    const { snapshot, products } = await listProducts([["limit", "1"]], signal);
    lastChance = findChance(snapshot, products);
  }
  return { min_score: leastClose(await lastChance), reach: REACH };
}

/** @param {Place} place @param {Record<string, any>} options @param {AbortSignal} signal */
async function writeQuery(place, options, signal) {
  const [first] = place.likes;
  const text = place.text ? { text: place.text } : {};
  if (isTextOnly(place)) return { ...text, ...options };
  if (place.likes.length > 1 || place.unlikes.length) {
    /** @type {object[]} */
    const positive = await Promise.all(place.likes.map((one, at) => writeExample(one, at ? null : place.crop, signal)));
    const negative = place.unlikes.map((id) => ({ product_id: id }));
    if (place.text) positive.push(text);
    return { positive, ...(negative.length ? { negative } : {}), ...options };
  }
  const picture = await pictureOf(first, place.crop, signal);
  if (picture && !options.filter.some(hasLines)) return writeForm(picture, place.crop, { ...text, ...options });
  return { ...(await writeExample(first, place.crop, signal)), ...text, ...options };
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
/** @type {Promise<number> | null} */
let lastChance = null;
const DEPTHS = [...new Set([4000, 400, 50].map((depth) => Math.min(depth, LIMITS.offset)))].slice(-LIMITS.queries);

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
  lastChance = measured;
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
  return countListed(names, conditions, [], signal);
}

/** @param {Place} place @param {string[]} names @param {AbortSignal} signal The same of a list, each without its own. */
export function countPlace(place, names, signal) {
  /** @type {Array<[string, string]>} */
  const more = place.find || place.text ? [["find", place.find || place.text]] : [];
  return countListed(names, writeConditions(place.filters), [["facets_of", "hits"], ...more], signal);
}

/**
 * @param {string[]} names
 * @param {string[]} conditions
 * @param {Array<[string, string]>} more
 * @param {AbortSignal} [signal]
 */
function countListed(names, conditions, more, signal) {
  /** @type {Array<[string, string]>} */
  const parameters = [["limit", "1"], ...more, ...conditions.map((one) => /** @type {[string, string]} */ (["filter", one]))];
  if (names.length) parameters.push(["facets", names.join(",")]);
  return listProducts(parameters, signal);
}
