// A control to choose a range of numbers or days.

import { make } from "./dom.js";
import { sayName, sayValue } from "./words.js";

/**
 * @typedef {import("./filters.js").Control} Control
 * @typedef {import("./place.js").Choice} Choice
 */

/** @param {string} name @param {string} type @param {(choice: Choice) => void} change @returns {Control} */
export function makeRange(name, type, change) {
  const isDay = type === "date" || type === "timestamp";
  const kind = isDay ? { type: "date" } : { type: "number", step: type === "integer" ? 1 : "any", inputMode: "decimal" };
  const from = make("input", { ...kind, "aria-label": `${sayName(name)} from` });
  const to = make("input", { ...kind, "aria-label": `${sayName(name)} to` });
  const ends = make("p", { className: "ends" });
  const element = make("div", { className: "range" },
    make("div", { className: "range-ends" },
      make("label", {}, make("span", {}, "From"), from), make("label", {}, make("span", {}, "To"), to)), ends);

  const isTurned = () => (isDay ? from.value > to.value : Number(from.value) > Number(to.value));
  const tell = () => {
    if (!from.validity.valid || !to.validity.valid) return;
    if (from.value && to.value && isTurned()) [from.value, to.value] = [to.value, from.value];
    change({ values: [], from: from.value, to: to.value });
  };
  for (const input of [from, to]) input.addEventListener("change", tell);

  return {
    element,
    update(choice, facet) {
      for (const [input, value] of /** @type {const} */ ([[from, choice.from], [to, choice.to]])) {
        if (document.activeElement !== input) input.value = isDay ? value.slice(0, 10) : value;
      }
      if (facet?.min === undefined) { ends.textContent = "No product has one."; return; }
      ends.textContent = `There is ${sayValue(facet.min)} to ${sayValue(facet.max)}.`;
      if (isDay) return;
      from.placeholder = String(facet.min);
      to.placeholder = String(facet.max);
    },
  };
}
