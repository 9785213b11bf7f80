// A control to choose among the values of an attribute: several at once, with how many products have each.

import { button, make } from "./dom.js";
import { findNearest } from "./nearest.js";
import { number, sayChoice, sayName } from "./words.js";

/**
 * @typedef {import("./filters.js").Control} Control
 * @typedef {import("./place.js").Choice} Choice
 */

const LONG = 9;

const COLOURS = ["black", "white", "red", "green", "yellow", "blue", "brown", "purple", "pink", "orange", "grey"];

/** @param {string} name of an attribute @param {string} value @returns {HTMLElement[]} What shows a colour beside its name. */
function showColour(name, value) {
  const colour = value.toLowerCase().replace("gray", "grey");
  if (!/^colou?r$/i.test(name) || !COLOURS.includes(colour)) return [];
  return [make("span", { className: `swatch swatch-${colour}`, "aria-hidden": "true" })];
}

/** @param {string} name @param {(choice: Choice) => void} change @returns {Control} */
export function makeValues(name, change) {
  /** @type {Map<string, {row: HTMLLabelElement, box: HTMLInputElement, count: HTMLElement}>} */
  const rows = new Map();
  const find = make("input", { type: "search", className: "find-value", placeholder: `Find in ${sayName(name).toLowerCase()}`, "aria-label": `Find in ${sayName(name)}` });
  const list = make("div", { className: "value-list", role: "group", "aria-label": sayName(name) });
  const nearest = make("p", { className: "nearest", hidden: true, role: "status" });
  const none = make("p", { className: "nearest", hidden: true }, "There is nothing to choose from.");
  const element = make("div", { className: "values" }, find, list, nearest, none);

  const tell = () => change({ values: [...rows].filter(([, { box }]) => box.checked).map(([value]) => value), from: "", to: "" });

  const narrow = () => {
    const wanted = find.value.trim().toLowerCase();
    const matching = [...rows].filter(([value, { row, box }]) => {
      row.hidden = !box.checked && Boolean(wanted) && !sayChoice(value).toLowerCase().includes(wanted);
      return !row.hidden;
    });
    nearest.hidden = matching.length > 0 || !wanted;
    if (nearest.hidden) return nearest.replaceChildren();
    const near = findNearest(wanted, [...rows.keys()]);
    const offers = near.map((value) => button("chip", sayChoice(value), () => {
      const found = rows.get(value);
      if (found) found.box.checked = true;
      find.value = "";
      narrow();
      tell();
    }));
    nearest.replaceChildren(...(near.length ? ["Nearest: ", ...offers] : ["There is nothing like it."]));
  };
  find.addEventListener("input", narrow);

  /** @param {string} value */
  const add = (value) => {
    const box = make("input", { type: "checkbox", onchange: tell });
    const count = make("span", { className: "count" });
    const label = make("span", { className: "value-name" }, sayChoice(value));
    const row = make("label", { className: "value" }, box, ...showColour(name, value), label, count);
    const found = { row, box, count };
    rows.set(value, found);
    list.append(row);
    return found;
  };

  return {
    element,
    update({ values }, facet) {
      const counts = facet?.values ?? {};
      const wanted = new Set([...Object.keys(counts), ...values]);
      for (const [value, { row }] of rows) {
        if (!wanted.has(value)) { row.remove(); rows.delete(value); }
      }
      for (const value of wanted) {
        const { row, box, count } = rows.get(value) ?? add(value);
        box.checked = values.includes(value);
        count.textContent = number(counts[value] ?? 0);
        row.classList.toggle("none", !counts[value]);
      }
      find.hidden = wanted.size < LONG;
      none.hidden = wanted.size > 0;
      narrow();
    },
  };
}
