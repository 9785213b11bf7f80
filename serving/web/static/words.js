// Words: how close a hit is, what went wrong, and values as people write them.

/** @typedef {import("./api.js").Problem} Problem */

/** Shares of the way from chance to the same, by which a hit is called. */
const CLOSENESS = /** @type {const} */ ([[0.93, "The same"], [0.5, "Very close"], [0.2, "Similar"]]);
export const WEAK = "Less alike";

/**
 * Say how close a hit is. Scores of two products that were chosen by chance differ between encoders and projections:
 * `chance` is where they are in this snapshot.
 *
 * @param {number} score
 * @param {number} chance
 */
export function nameCloseness(score, chance) {
  const share = (score - chance) / (1 - chance);
  return CLOSENESS.find(([least]) => share >= least)?.[1] ?? WEAK;
}

/** @param {number} chance The least score of a hit that is not less alike. */
export const leastClose = (chance) => chance + CLOSENESS[CLOSENESS.length - 1][0] * (1 - chance);

/** @param {import("./api.js").Understood} understood What a person would not expect: guesses, colours, and what nobody has. */
export function sayUnderstood({ words, unknown, looks_like: likes = [], colours = [] }) {
  const corrected = words.filter(({ how }) => how === "spelling").map(({ word, found }) => `“${found}” for “${word}”`);
  const parts = [];
  if (corrected.length) parts.push(`Shown are products with ${corrected.join(" and ")}.`);
  if (unknown.length) parts.push(`No product has ${unknown.map((word) => `“${word}”`).join(" or ")}.`);
  if (colours.length) parts.push(`Pictures in ${colours.join(" and ")} count more.`);
  const titles = [...new Set(likes.map(({ title }) => title))].filter(Boolean).slice(0, 2);
  if (unknown.length && titles.length) parts.push(`Shown is what looks like ${titles.map((title) => `“${title}”`).join(" and ")}.`);
  return parts.join(" ");
}

const LOCALE = document.documentElement.lang || "en";
/** @param {number} value */
export const number = (value) => value.toLocaleString(LOCALE);
/** @param {number} count @param {string} one @param {string} many */
export const counted = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;

const DAY = /^\d{4}-\d\d-\d\d$/;
const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d/;
const DAYS = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeZone: "UTC" });
const MOMENTS = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" });

/** @param {any} value @returns {string} */
export function sayValue(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return number(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map(sayValue).filter(Boolean).join(", ");
  if (typeof value === "object") return JSON.stringify(value);
  if (DAY.test(value)) return sayMoment(value, DAYS);
  return MOMENT.test(value) ? sayMoment(value, MOMENTS) : String(value);
}

/** @param {string} value @param {Intl.DateTimeFormat} format */
function sayMoment(value, format) {
  const moment = new Date(/[zZ]$|[+-]\d\d:\d\d$/.test(value) || DAY.test(value) ? value : `${value}Z`);
  return Number.isNaN(moment.getTime()) ? value : format.format(moment);
}

/** @param {string} value as a filter has it */
export function sayChoice(value) {
  if (value === "true" || value === "false") return value === "true" ? "Yes" : "No";
  return value.trim() ? sayValue(value) : "(blank)";
}

/** @param {string} name */
export function sayName(name) {
  const words = name.replaceAll("_", " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** @param {number} amount @param {unknown} currency */
export function sayPrice(amount, currency) {
  const cents = Number.isInteger(amount) ? 0 : 2;
  const digits = { minimumFractionDigits: cents, maximumFractionDigits: 2 };
  if (typeof currency !== "string" || !currency.trim()) return amount.toLocaleString(LOCALE, digits);
  try {
    return amount.toLocaleString(LOCALE, { style: "currency", currency: currency.trim(), ...digits });
  } catch {
    return `${amount.toLocaleString(LOCALE, digits)} ${currency}`;
  }
}

/**
 * What a person who looks for a product can do about a problem.
 *
 * @typedef {{title: string, text: string, waits?: boolean, again?: boolean, loose?: boolean, fine?: string}} Advice
 *   waits: it goes away by itself, so the page tries again; again: a person may try again; loose: filters do not fit
 */

/** @type {Record<string, Advice>} */
const ADVICE = {
  unreachable: { title: "No connection", text: "Your results come as soon as the line is back.", waits: true },
  not_ready: { title: "Opening soon", text: "The products are on their way. This page looks again by itself.", waits: true },
  busy: { title: "Very busy right now", text: "Your turn comes in a moment: this page asks again by itself.", waits: true },
  slow: { title: "That took too long", text: "The line or the server is slow right now.", again: true },
  large: { title: "This picture is too large", text: "Choose a smaller one, or a part of it." },
  format: { title: "This kind of file is not understood", text: "Choose a photo: JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP." },
  damaged: { title: "This picture cannot be read", text: "The file seems to be damaged. Choose another one." },
  small: { title: "There is too little to see", text: "Choose a larger part, or a larger picture." },
  gone: { title: "This product is gone", text: "It is not sold here any more. Look for something else." },
  lost: { title: "Your picture is not here", text: "Pictures stay in the tab that they were shown to. Show it again." },
  elsewhere: { title: "That page does not hand out its picture", text: "Save the picture on your device, then show it here." },
  unlike: { title: "These examples say nothing together", text: "Take one of them away." },
  order: { title: "These products have no such order", text: "Their details have changed since.", loose: true },
  text: { title: "That is no word", text: "Write a word or a number, and not too many of them." },
  wordless: { title: "These products cannot be found by words", text: "Take the words away, and search by the picture alone." },
  many: { title: "These are enough examples", text: "Take one away before you add another." },
  filters: { title: "A filter does not fit these products", text: "The range of products has changed since.", loose: true },
};

/** @type {Record<string, keyof typeof ADVICE>} */
const CODES = {
  overloaded: "busy", rate_limited: "busy", stopping: "busy", http_502: "busy", http_503: "busy", http_504: "busy",
  deadline_exceeded: "slow", request_timeout: "slow", image_unreadable: "slow", url_unreachable: "slow",
  body_too_large: "large", image_too_many_bytes: "large", image_too_many_pixels: "large", reply_too_large: "slow",
  image_unsupported_format: "format", image_not_an_image: "format", image_damaged: "damaged", image_empty: "damaged",
  image_too_small: "small", bad_crop: "small", unknown_product: "gone", image_missing: "gone", picture_lost: "lost",
  urls_off: "elsewhere", url_not_allowed: "elsewhere", url_malformed: "elsewhere", url_missing: "elsewhere",
  vector_zero: "unlike", too_many_examples: "many",
  bad_filter: "filters", unknown_attribute: "filters", too_many_filters: "filters", bad_facets: "filters",
  bad_sort: "order", bad_text: "text", no_text_channel: "wordless",
};

/** @param {Problem} problem @returns {Advice} */
export function advise(problem) {
  const known = ADVICE[problem.code] ?? ADVICE[CODES[problem.code] ?? ""];
  if (known) return known;
  const fine = [problem.code, problem.request].filter(Boolean).join(" · ");
  return { title: "That did not work", text: "It is not your fault.", again: true, fine };
}
