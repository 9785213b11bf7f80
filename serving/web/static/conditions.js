// Conditions: what is chosen of attributes, as the server's filters have it.

/** @typedef {import("./place.js").Choice} Choice */
/** @typedef {import("./place.js").Place} Place */

const PLAIN = /^[\p{L}\p{N}_-]+$/u;

/** @param {string} words In quotes, a name or a value is never taken for more than itself. */
const quoted = (words) => (PLAIN.test(words) ? words : `"${words.replaceAll('"', '""')}"`);

/**
 * @param {Place["filters"]} filters
 * @param {string} [without] an attribute whose own condition is left out
 * @returns {string[]}
 */
export function writeConditions(filters, without) {
  return [...filters].filter(([name]) => name !== without).flatMap(([name, choice]) => writeCondition(name, choice));
}

/** @param {string} name @param {Choice} choice @returns {string[]} */
function writeCondition(name, { values, from, to }) {
  const written = [];
  if (values.length) written.push(`${quoted(name)} in ${values.map((value) => quoted(value)).join(",")}`);
  if (from) written.push(`${quoted(name)}>=${from}`);
  if (to) written.push(`${quoted(name)}<=${to}`);
  return written;
}

/** @param {Choice} choice */
export const isEmpty = ({ values, from, to }) => !values.length && !from && !to;

/** @param {string} condition A form would change the ends of its lines. */
export const hasLines = (condition) => /[\r\n]/.test(condition);
