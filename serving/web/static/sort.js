// The sort menu: the order of what is found, by closeness, price, date or another number.

import { $, make } from "./dom.js";
import { findRole } from "./roles.js";
import { sayName } from "./words.js";

/**
 * @typedef {import("./place.js").Place} Place
 * @typedef {{name: string, type: string}} Offered
 */

const MOST = 4;
const ROLES = ["price", "sale"];

/** @param {(sort: string) => void} change */
export function prepareSort(change) {
  menu().addEventListener("change", () => change(menu().value));
}

const menu = () => /** @type {HTMLSelectElement} */ ($("sort"));

/** @param {Offered[]} ranges attributes that have an order, and differ among products */
export function offerOrders(ranges) {
  const rank = (/** @type {Offered} */ one) => (ROLES.includes(findRole(one.name) ?? "") ? 0 : isDay(one) ? 1 : 2);
  const offered = [...ranges].sort((a, b) => rank(a) - rank(b)).slice(0, MOST);
  menu().replaceChildren(make("option", { value: "" }), ...offered.flatMap(makeOptions));
  document.body.classList.toggle("has-orders", offered.length > 0);
  document.body.classList.toggle("no-orders", !offered.length);
}

/** @param {Offered} one */
const isDay = ({ type }) => type === "date" || type === "timestamp";

/** @param {Offered} one */
function makeOptions(one) {
  const words = isDay(one) ? { desc: "newest first", asc: "oldest first" } : { asc: "low to high", desc: "high to low" };
  return Object.entries(words).map(([direction, said]) =>
    make("option", { value: `attributes.${one.name}:${direction}` }, `${sayName(one.name)}: ${said}`));
}

/** @param {Place} place Show which order is chosen; one from a link that is not offered stands as it is written. */
export function showSort({ sort, likes, text, find }) {
  const options = [...menu().options];
  const first = options[0] ?? menu().appendChild(make("option", { value: "" }));
  first.textContent = likes.length ? "Closest first" : text || find ? "Best match" : "Mixed";
  if (sort && !options.some(({ value }) => value === sort)) menu().append(make("option", { value: sort }, sort));
  menu().value = sort;
}
