// The nearest: what there is instead of a value that no product has.

import { writeConditions } from "./conditions.js";
import { button, make } from "./dom.js";
import { noChoice } from "./place.js";
import { countValues } from "./search.js";
import { sayChoice, sayName, sayValue } from "./words.js";

/**
 * @typedef {import("./place.js").Place} Place
 * @typedef {import("./place.js").Choice} Choice
 */

/**
 * Return the texts that are most like another one, best first: by pairs of letters that both have.
 *
 * @param {string} wanted
 * @param {string[]} texts
 * @param {number} [most]
 */
export function findNearest(wanted, texts, most = 3) {
  const pairs = pairsOf(wanted);
  const ranked = texts.map((text) => ({ text, share: shareOf(pairs, pairsOf(text)) })).filter(({ share }) => share > 0.2);
  return ranked.sort((a, b) => b.share - a.share).slice(0, most).map(({ text }) => text);
}

/** @param {string} text */
function pairsOf(text) {
  const letters = ` ${text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase()} `;
  return new Set(Array.from({ length: letters.length - 1 }, (_, at) => letters.slice(at, at + 2)));
}

/** @param {Set<string>} one @param {Set<string>} other */
function shareOf(one, other) {
  const both = [...one].filter((pair) => other.has(pair)).length;
  return (2 * both) / (one.size + other.size);
}

/**
 * Return an offer of what is nearest to a choice that leaves nothing, or null where no single one is to blame.
 *
 * @param {Place} place
 * @param {(name: string, choice: Choice) => void} choose
 */
export async function suggest(place, choose) {
  const offers = await Promise.all([...place.filters].map(([name, choice]) => suggestOne(place, name, choice)));
  const found = offers.filter((offer) => offer !== null);
  if (!found.length) return null;
  const parts = found.map(({ name, choices }) =>
    make("span", { className: "nearest" }, `${sayName(name)}, nearest: `,
      ...choices.map((choice) => button("chip", sayWhole(choice), () => choose(name, choice)))));
  return make("span", {}, ...parts);
}

/** @param {Choice} choice */
const sayWhole = ({ values, from }) => (values.length ? sayChoice(values[0]) : sayValue(isNumber(from) ? Number(from) : from));
/** @param {string} text */
const isNumber = (text) => text.trim() !== "" && Number.isFinite(Number(text));

/** @param {Place} place @param {string} name @param {Choice} choice */
async function suggestOne(place, name, choice) {
  const others = writeConditions(place.filters, name);
  if (choice.values.length) {
    const among = await countValues([name], others);
    const reply = among.total ? among : await countValues([name], []);
    const there = Object.keys(reply.facets?.[name].values ?? {});
    if (choice.values.some((value) => there.includes(value))) return null;
    const near = findNearest(choice.values[0], there);
    const offered = near.length ? near : there.slice(0, 3);
    return offered.length ? { name, choices: offered.map((value) => ({ ...noChoice(), values: [value] })) } : null;
  }
  const ends = await Promise.all([
    choice.from ? endOf(name, "to", choice.from, others) : null,
    choice.to ? endOf(name, "from", choice.to, others) : null,
  ]);
  const choices = ends.filter((end) => end !== null).map((end) => ({ ...noChoice(), from: end, to: end }));
  return choices.length ? { name, choices } : null;
}

/**
 * Return the value that is nearest to the end of a range, on its other side.
 *
 * @param {string} name
 * @param {"from" | "to"} side
 * @param {string} end
 * @param {string[]} others
 */
async function endOf(name, side, end, others) {
  const beyond = writeConditions(new Map([[name, { ...noChoice(), [side]: end }]]));
  const among = await countValues([name], [...others, ...beyond]);
  const facet = (among.total ? among : await countValues([name], beyond)).facets?.[name];
  const found = side === "to" ? facet?.max : facet?.min;
  return found === undefined ? null : String(found);
}
