// The place: what is asked for, as the page's address holds it. Reading and writing it are each other's inverse.

/**
 * @typedef {[number, number, number, number]} Crop left, top, right, bottom, from 0 to 1
 * @typedef {{kind: "product" | "picture" | "url", value: string}} Example a picture's value is its name in this tab
 * @typedef {{values: string[], from: string, to: string}} Choice
 * @typedef {{likes: Example[], unlikes: string[], crop: Crop | null, text: string, find: string, filters: Map<string, Choice>,
 *   sort: string, product: string | null}} Place
 */

const KINDS = { like: "product", picture: "picture", url: "url" };
const WORDS = { product: "like", picture: "picture", url: "url" };
const EXAMPLES = 16;

/** @returns {Place} */
export const nowhere = () => ({ likes: [], unlikes: [], crop: null, text: "", find: "", filters: new Map(), sort: "", product: null });

/** @returns {Choice} */
export const noChoice = () => ({ values: [], from: "", to: "" });

/** @param {string} search @returns {Place} */
export function readPlace(search) {
  const place = nowhere();
  for (const [name, value] of new URLSearchParams(search)) {
    if (Object.hasOwn(KINDS, name)) {
      const kind = /** @type {Example["kind"]} */ (KINDS[/** @type {keyof typeof KINDS} */ (name)]);
      place.likes.push({ kind, value });
    } else if (name === "unlike") place.unlikes.push(value);
    else if (name === "crop") place.crop = readCrop(value);
    else if (name === "text") place.text = value.trim();
    else if (name === "find") place.find = value.trim();
    else if (name === "sort") place.sort = value;
    else if (name === "product") place.product = value;
    else readChoice(place, name, value);
  }
  place.likes = place.likes.slice(0, EXAMPLES);
  place.unlikes = place.likes.length ? place.unlikes.slice(0, EXAMPLES - place.likes.length) : [];
  if (!place.likes.length) place.crop = null;
  return place;
}

/** @param {Place} place @param {string} name @param {string} value */
function readChoice(place, name, value) {
  const found = /^(is|from|to)\.(.+)$/s.exec(name);
  if (!found) return;
  const [, part, attribute] = found;
  const choice = place.filters.get(attribute) ?? noChoice();
  if (part === "is") choice.values.push(value);
  else choice[/** @type {"from" | "to"} */ (part)] = value;
  place.filters.set(attribute, choice);
}

/** @param {Place} place @returns {string} empty, or with its question mark */
export function writePlace(place) {
  const written = new URLSearchParams();
  for (const { kind, value } of place.likes) written.append(WORDS[kind], value);
  for (const id of place.unlikes) written.append("unlike", id);
  if (place.crop) written.append("crop", writeCrop(place.crop));
  if (place.text) written.append("text", place.text);
  if (place.find) written.append("find", place.find);
  for (const [name, { values, from, to }] of place.filters) {
    for (const value of values) written.append(`is.${name}`, value);
    if (from) written.append(`from.${name}`, from);
    if (to) written.append(`to.${name}`, to);
  }
  if (place.sort) written.append("sort", place.sort);
  if (place.product !== null) written.append("product", place.product);
  const text = written.toString();
  return text && `?${text}`;
}

/** @param {Place} place @returns {string} the same for all places that show the same results */
export const nameResults = (place) => writePlace({ ...place, product: null });

/** @param {Crop} crop */
export const writeCrop = (crop) => crop.map((edge) => Number(edge.toFixed(3))).join(",");

/** @param {string} text @returns {Crop | null} */
function readCrop(text) {
  const edges = text.split(",").map(Number);
  const [left, top, right, bottom] = edges;
  const fits = edges.length === 4 && left >= 0 && top >= 0 && right <= 1 && bottom <= 1 && left < right && top < bottom;
  return fits ? [left, top, right, bottom] : null;
}
