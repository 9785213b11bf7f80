// Filters: what a catalogue offers to choose by, with counts that follow what is chosen.

import { $, $dialog, button, isPhone, make } from "./dom.js";
import { isEmpty, writeConditions } from "./conditions.js";
import { nameResults, noChoice } from "./place.js";
import { findRole } from "./roles.js";
import { LIMITS } from "./limits.js";
import { countHits, countPlace, countValues, isSearch } from "./search.js";
import { makeRange } from "./range.js";
import { makeValues } from "./values.js";
import { counted, number, sayChoice, sayName, sayPrice, sayValue } from "./words.js";

/**
 * @typedef {import("./api.js").Snapshot} Snapshot
 * @typedef {import("./api.js").Facet} Facet
 * @typedef {import("./place.js").Place} Place
 * @typedef {import("./place.js").Choice} Choice
 * @typedef {{element: HTMLElement, update: (choice: Choice, facet: Facet | undefined) => void}} Control
 * @typedef {{facets: Record<string, Facet>, total: number | null}} Counted
 * @typedef {{name: string, type: string, details: HTMLDetailsElement, count: HTMLElement, control: Control}} Group
 */

const MOST = 12;
const BODY = 330; // points that what a filter holds is wide, as style.css has it
const KEPT = 12;
const RANGES = ["integer", "number", "date", "timestamp"];
const ORDER = ["category", "brand", "sale", "price"];

/** @type {(name: string, choice: Choice) => void} */
let choose;
/** @type {() => void} */
let clear;
/** @type {Group[]} */
let groups = [];
let made = "";
let served = "";
let countedFor = "";
/** @type {Map<string, Counted>} */
const counts = new Map();
/** @type {AbortController | null} */
let counting = null;

/** @param {{choose: (name: string, choice: Choice) => void, clear: () => void}} actions */
export function prepareFilters(actions) {
  ({ choose, clear } = actions);
  const drawer = $dialog("drawer");
  const settle = () => {
    $(isPhone.matches ? "drawer-body" : "filters-bar").append($("filters"));
    closeGroups();
    fitRow();
  };
  isPhone.addEventListener("change", () => { drawer.close(); settle(); });
  settle();
  $("open-filters").addEventListener("click", () => {
    closeGroups();
    $("drawer-body").append($("filters"));
    drawer.showModal();
  });
  drawer.addEventListener("close", settle);
  for (const id of ["close-drawer", "show-results"]) $(id).addEventListener("click", () => drawer.close());
  new ResizeObserver(fitRow).observe($("filters-bar"));
  $("clear-filters").addEventListener("click", () => clear());
  drawer.addEventListener("click", (event) => { if (event.target === drawer) drawer.close(); });
  document.addEventListener("click", (event) => {
    if (!drawer.open) closeGroups(/** @type {Element} */ (event.target).closest?.("details.filter"));
  });
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("keydown", (event) => {
    const open = groups.find(({ details }) => details.open && details.contains(document.activeElement));
    if (event.key !== "Escape" || !open || drawer.open) return;
    open.details.open = false;
    open.details.querySelector("summary")?.focus();
  });
}

/** @param {Element | null} [but] */
function closeGroups(but) {
  for (const { details } of groups) if (details !== but) details.open = false;
}

/** Filters stand in one row, so that nothing moves when they come. Those that have no room in it are in the drawer. */
function fitRow() {
  for (const { details } of groups) details.classList.remove("over");
  const isInRow = $("filters").parentElement === $("filters-bar");
  const first = groups[0]?.details.offsetTop ?? 0;
  const over = isInRow ? groups.filter(({ details }) => details.offsetTop > first) : [];
  for (const { details } of over) details.classList.add("over");
  const room = $("filters-bar").clientWidth;
  for (const { details } of groups) details.classList.toggle("to-the-left", details.offsetLeft - $("filters").offsetLeft + BODY > room);
  document.body.classList.toggle("more-filters", over.length > 0);
}

/** @param {Snapshot} snapshot Make a control for each attribute that helps to choose. Return those that are ranges. */
export async function offerFilters(snapshot) {
  served = snapshot.id;
  const key = JSON.stringify(Object.entries(snapshot.attributes).map(([name, { type }]) => [name, type]));
  if (key !== made) await makeGroups(snapshot);
  made = key;
  return groups.filter(({ type }) => RANGES.includes(type));
}

/** @param {Snapshot} snapshot */
async function makeGroups(snapshot) {
  const candidates = LIMITS.facets ? rankAttributes(snapshot) : [];
  const replies = await Promise.all(inParts(candidates).map((part) => countValues(part, [])));
  /** @type {Record<string, Facet>} */
  const facets = Object.assign({}, ...replies.map((reply) => reply.facets));
  const offered = candidates.filter((name) => helpsToChoose(snapshot.attributes[name].type, facets[name])).slice(0, MOST);
  groups = offered.map((name) => makeGroup(name, snapshot.attributes[name].type));
  $("filters").replaceChildren(...groups.map(({ details }) => details));
  document.body.classList.toggle("has-filters", groups.length > 0);
  fitRow();
}

/** @param {Snapshot} snapshot */
function rankAttributes({ attributes }) {
  const useless = new Set(["link", "text", "image", "currency"]);
  const fitting = Object.keys(attributes).filter((name) => !useless.has(findRole(name) ?? ""));
  const rank = (/** @type {string} */ name) => {
    const place = ORDER.indexOf(findRole(name) ?? "");
    return place >= 0 ? place : attributes[name].values ? ORDER.length : ORDER.length + 1;
  };
  return fitting.sort((a, b) => rank(a) - rank(b)).slice(0, 2 * MOST);
}

/** @param {string[]} names So many at once as a server counts for one question. */
function inParts(names) {
  return Array.from({ length: Math.ceil(names.length / LIMITS.facets) }, (_, at) => names.slice(at * LIMITS.facets, (at + 1) * LIMITS.facets));
}

/** @param {string} type @param {Facet} facet */
function helpsToChoose(type, facet) {
  if (!facet) return false;
  if (RANGES.includes(type)) return facet.min !== undefined && facet.min !== facet.max;
  const values = Object.entries(facet.values);
  if (values.length < 2 || values.every(([value]) => value.length > 40)) return false;
  return values[0][1] > 1; // else each product has a value of its own
}

/** @param {string} name @param {string} type @returns {Group} */
function makeGroup(name, type) {
  const change = (/** @type {Choice} */ choice) => choose(name, choice);
  const control = RANGES.includes(type) ? makeRange(name, type, change) : makeValues(name, change);
  const count = make("span", { className: "badge", hidden: true });
  const summary = make("summary", {}, sayName(name), count);
  const details = make("details", { className: "filter" }, summary, make("div", { className: "filter-body" }, control.element));
  return { name, type, details, count, control };
}

/** @param {Place} place Show what is chosen. */
export function showFilters(place) {
  drawChips(place);
  for (const { name, count } of groups) {
    const chosen = countParts(place.filters.get(name) ?? noChoice());
    count.textContent = number(chosen);
    count.hidden = !chosen;
  }
  fitRow();
}

/** @param {Place} place Show how much there is of each value among what is found. */
export async function countFilters(place) {
  const question = JSON.stringify([served, groups.length, nameResults({ ...place, sort: "" })]);
  if (!groups.length || question === countedFor) return;
  countedFor = question;
  counting?.abort();
  counting = new AbortController();
  const { signal } = counting;
  try {
    const { facets, total } = counts.get(question) ?? (await countAll(place, signal));
    if (signal.aborted) return;
    counts.set(question, { facets, total });
    if (counts.size > KEPT) counts.delete(counts.keys().next().value ?? "");
    for (const { name, control } of groups) control.update(place.filters.get(name) ?? noChoice(), facets[name]);
    $("show-results").textContent = total === null ? "Show results" : `Show ${counted(total, "product", "products")}`;
  } catch { // the results say what is wrong
    if (countedFor === question) countedFor = "";
  }
}

/**
 * Count the values of each attribute among the products that the other choices leave: of a search, among its hits.
 *
 * @param {Place} place
 * @param {AbortSignal} signal
 * @returns {Promise<Counted>}
 */
async function countAll(place, signal) {
  const parts = inParts(groups.map(({ name }) => name));
  if (isSearch(place)) {
    const found = await Promise.all(parts.map((part) => countHits(place, part, signal)));
    const facets = Object.assign({}, ...found);
    if (Object.values(facets).some(hasAny)) return { facets, total: null };
  }
  const replies = await Promise.all(parts.map((part) => countPlace(place, part, signal)));
  return { facets: Object.assign({}, ...replies.map((reply) => reply.facets)), total: isSearch(place) ? null : replies[0].total };
}

/** @param {Facet} facet */
const hasAny = ({ values, missing }) => missing > 0 || Object.keys(values).length > 0;

/** @param {Choice} choice */
const countParts = ({ values, from, to }) => values.length + (from || to ? 1 : 0);

/** @param {Place} place What is chosen, each part with a way to take it back. */
function drawChips({ filters, find }) {
  const chips = [...filters].flatMap(([name, choice]) => {
    const parts = choice.values.map((value) => makeChip(name, sayChoice(value), { ...choice, values: choice.values.filter((one) => one !== value) }));
    return choice.from || choice.to ? [...parts, makeChip(name, sayRange(name, choice), { ...choice, from: "", to: "" })] : parts;
  });
  if (chips.length) chips.push(make("li", {}, button("plain", "Clear all", () => clear())));
  const total = [...filters.values()].reduce((sum, choice) => sum + countParts(choice), 0);
  $("chips").replaceChildren(...chips);
  $("chips").hidden = !chips.length;
  $("filter-count").textContent = total ? number(total) : "";
  $("filter-count").hidden = !total;
  $("clear-filters").toggleAttribute("disabled", !total && !find);
}

/** @param {string} name @param {string} words @param {Choice} left */
function makeChip(name, words, left) {
  const label = `${sayName(name)}: ${words}`;
  const chip = button("chip removable", label, () => choose(name, left));
  chip.setAttribute("aria-label", `Remove ${label}`);
  return make("li", {}, chip);
}

/** @param {string} name @param {Choice} choice */
function sayRange(name, { from, to }) {
  const say = (/** @type {string} */ end) => {
    const isPrice = ["price", "sale"].includes(findRole(name) ?? "") && Number.isFinite(Number(end));
    return isPrice ? sayPrice(Number(end), null) : sayValue(Number.isFinite(Number(end)) ? Number(end) : end);
  };
  if (from && to) return from === to ? say(from) : `${say(from)} – ${say(to)}`;
  return from ? `from ${say(from)}` : `up to ${say(to)}`;
}

/** @param {Place} place @param {string} name @param {Choice} choice @returns {Place["filters"]} */
export function withChoice({ filters }, name, choice) {
  const changed = new Map(filters);
  if (isEmpty(choice)) changed.delete(name);
  else changed.set(name, choice);
  return changed;
}
