// The start: one good picture of each category, which is the one that is most like the others of it.

import { listProducts, post } from "./api.js";
import { makeFrame } from "./cards.js";
import { writeConditions } from "./conditions.js";
import { make } from "./dom.js";
import { LIMITS } from "./limits.js";
import { noChoice } from "./place.js";
import { findRole, nameOf } from "./roles.js";
import { findChance } from "./search.js";
import { number, sayChoice } from "./words.js";

/**
 * @typedef {import("./api.js").Product} Product
 * @typedef {import("./api.js").Snapshot} Snapshot
 * @typedef {{value: string, count: number, product: Product}} Category
 * @typedef {{name: string, categories: Category[]}} Chosen
 */

const MOST = 12;
const EXAMPLES = Math.min(12, LIMITS.examples);
const LISTED = 100;

/** @param {Snapshot} snapshot @returns {{name: string, values: Array<[string, number]>} | null} */
export function findCategories({ attributes }) {
  const fitting = Object.entries(attributes).filter(([, { type, values }]) => {
    const count = Object.keys(values ?? {}).length;
    return type === "string" && count > 1 && count <= 50;
  });
  const [name, { values }] = fitting.find(([one]) => findRole(one) === "category") ?? [null, { values: null }];
  return name === null || !values ? null : { name, values: Object.entries(values).slice(0, MOST) };
}

/** @type {{id: string, chosen: Promise<Chosen | null>} | null} */
let last = null;

/**
 * Return one product for each category: the one in the middle of some that were chosen by chance.
 *
 * @param {Promise<Snapshot>} asked
 * @returns {Promise<Chosen | null>}
 */
export async function chooseProducts(asked) {
  const listed = last ? null : listProducts([["limit", String(LISTED)]]); // without waiting for the snapshot
  listed?.catch(() => {});
  const snapshot = await asked;
  if (last?.id === snapshot.id) return last.chosen;
  const chosen = choose(snapshot, listed ?? listProducts([["limit", String(LISTED)]]));
  const mine = { id: snapshot.id, chosen };
  last = mine;
  chosen.catch(() => { if (last === mine) last = null; });
  return chosen;
}

/** @param {Snapshot} snapshot @param {Promise<import("./api.js").ListReply>} listed @returns {Promise<Chosen | null>} */
async function choose(snapshot, listed) {
  const found = findCategories(snapshot);
  if (!found) return null;
  const { name, values } = found;
  const filterBy = (/** @type {string} */ value) =>
    writeConditions(new Map([[name, { ...noChoice(), values: [value] }]]));
  const { products } = await listed;
  findChance(snapshot.id, products); // the first search needs it
  const members = await Promise.all(values.map(async ([value]) => {
    const mine = products.filter((one) => one.attributes[name] === value).slice(0, EXAMPLES);
    if (mine.length) return mine;
    return (await listProducts([["limit", "4"], ["filter", filterBy(value)[0]]])).products;
  }));
  const queries = values.map(([value], at) => ({
    positive: members[at].map(({ id }) => ({ product_id: id })), filter: filterBy(value), k: 1,
  }));
  const asked = queries.filter(({ positive }) => positive.length > 1);
  const parts = Array.from({ length: Math.ceil(asked.length / LIMITS.queries) }, (_, at) =>
    post("search/batch", { queries: asked.slice(at * LIMITS.queries, (at + 1) * LIMITS.queries) }));
  const results = (await Promise.all(parts)).flatMap((reply) => reply.results);
  const middles = new Map(asked.map((query, at) => [query, results[at].hits?.[0]]));
  const categories = values.map(([value, count], at) => ({ value, count, product: middles.get(queries[at]) ?? members[at][0] }));
  return { name, categories: categories.filter(({ product }) => product) };
}

/**
 * @param {Category} category
 * @param {{like: (id: string) => void, browse: (value: string) => void, address: (id: string) => string}} actions
 */
export function makeTile({ value, count, product }, { like, browse, address }) {
  const link = make("a", { className: "card-link", href: address(product.id), title: nameOf(product) });
  link.append(makeFrame(product), make("span", { className: "unseen" }, `More like ${nameOf(product)}`));
  link.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    like(product.id);
  });
  const words = [make("span", { className: "title" }, sayChoice(value)), " ", make("span", { className: "about" }, number(count))];
  const open = make("button", { type: "button", className: "browse", onclick: () => browse(value) }, ...words);
  return make("li", { className: "card tile" }, link, open);
}
