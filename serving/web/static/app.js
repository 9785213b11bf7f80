// The search page. Its address says what is shown; all that people do changes the address, and the page follows.

import { getSnapshot } from "./api.js";
import { writeConditions } from "./conditions.js";
import { $, $input, announce, make } from "./dom.js";
import { countFilters, offerFilters, prepareFilters, showFilters, withChoice } from "./filters.js";
import { findAddress, listen } from "./incoming.js";
import { LIMITS } from "./limits.js";
import { suggest } from "./nearest.js";
import { preparePanel, showPanel } from "./panel.js";
import { addPicture } from "./pictures.js";
import { nameResults, noChoice, nowhere, readPlace, writePlace } from "./place.js";
import { prepareQuery, showQuery } from "./query.js";
import { chanceShown, countShown, forgetViews, listShown, prepareResults, showResults } from "./results.js";
import { isListing, isSearch } from "./search.js";
import { offerOrders, prepareSort, showSort } from "./sort.js";
import { chooseProducts, makeTile } from "./start.js";
import { offerSuggestions } from "./suggestions.js";
import { number } from "./words.js";

/**
 * @typedef {import("./place.js").Place} Place
 * @typedef {import("./place.js").Example} Example
 * @typedef {import("./api.js").Snapshot} Snapshot
 */

const LOOK_AGAIN = 15_000;

/** @type {Place} */
let place = readPlace(location.search);
/** @type {Promise<Snapshot> | null} */
let snapshot = null;
let snapshotId = "";

/** @param {Partial<Place>} change @param {{replace?: boolean}} [how] */
function go(change, { replace = false } = {}) {
  const next = { ...place, ...change };
  if (writePlace(next) === writePlace(place)) return;
  rememberScroll();
  const isPanelOnly = nameResults(next) === nameResults(place);
  const state = replace ? history.state : { isOpened: next.product !== null, scroll: isPanelOnly ? scrollY : 0, count: isPanelOnly ? countShown() : 0 };
  history[replace ? "replaceState" : "pushState"](state, "", location.pathname + writePlace(next));
  arrive(next, { count: 0, scroll: 0 });
}

/** @param {Place} next @param {{count: number, scroll: number}} left how it was when it was left */
async function arrive(next, { count, scroll }) {
  const isNew = nameResults(next) !== nameResults(place) || !hasArrived;
  place = next;
  hasArrived = true;
  if (isNew) {
    document.documentElement.dataset.view = next.likes.length ? "search" : isSearch(next) || isListing(next) ? "list" : "start";
    const named = next.find || (next.likes.length ? "" : next.text);
    $input("find-text").value = named;
    document.title = named ? `${named} – Lookalike` : "Lookalike";
    showQuery(next);
    showFilters(next);
    showSort(next);
    const drawn = showResults(next, count);
    if (!scroll) window.scrollTo({ top: 0 });
    await drawn;
    if (scroll && place === next) window.scrollTo({ top: scroll });
  }
  if (place === next) showPanel(next.product);
}
let hasArrived = false;
/** @type {string | null} */
let foundAt = null;

/** Results are here: count for the filters, for which a picture is sent again. */
function count() {
  foundAt = nameResults(place);
  countFilters(place);
}

function rememberScroll() {
  history.replaceState({ ...history.state, scroll: scrollY, count: countShown() }, "");
}

/** @param {Example} example Search by one example alone. What is chosen stays chosen. */
function searchBy(example) {
  go({ likes: [example], unlikes: [], crop: null, text: "", find: "", sort: "", product: null });
  $("results").focus({ preventScroll: true });
}

/** @param {string} id @param {boolean} isLike */
function add(id, isLike) {
  const likes = place.likes.filter((one) => one.kind !== "product" || one.value !== id);
  const unlikes = place.unlikes.filter((one) => one !== id);
  if (likes.length + unlikes.length >= LIMITS.examples) return announce("These are enough examples");
  const isFirst = place.likes.length && likes[0] !== place.likes[0];
  if (isFirst && isLike) return;
  if (isLike) likes.push({ kind: "product", value: id });
  else unlikes.push(id);
  if (!likes.length) return announce("Choose first what it shall look like");
  go({ likes, unlikes, crop: isFirst ? null : place.crop, find: "", product: null });
  announce(isLike ? "More like this" : "Less like this");
}

/** @param {Example} example @param {boolean} isLike */
function remove(example, isLike) {
  const { kind, value } = example;
  if (isLike) go({ likes: place.likes.filter((one) => one.kind !== kind || one.value !== value) });
  else go({ unlikes: place.unlikes.filter((one) => one !== value) });
  $("results").focus({ preventScroll: true });
}

/** @param {Example} example @param {Element | null} target where it was dropped */
function takeExample(example, target) {
  if (!target?.closest("#query") || !place.likes.length) return searchBy(example);
  if (example.kind === "product") add(example.value, true);
  else go({ likes: [...place.likes, example], product: null });
}

/** @param {File} file */
function takePicture(file) {
  searchBy({ kind: "picture", value: addPicture(file) });
}

const startOver = () => go(nowhere());
const clearFilters = () => go({ filters: new Map(), sort: isSearch(place) || place.find || place.text ? place.sort : "" });
const clearChoices = () => go({ filters: new Map(), sort: "" });
const choose = (/** @type {string} */ name, /** @type {import("./place.js").Choice} */ choice) =>
  go({ filters: withChoice(place, name, choice) });

const cardActions = {
  open: (/** @type {string} */ id) => go({ product: id }),
  like: (/** @type {string} */ id) => searchBy({ kind: "product", value: id }),
  add,
  address: (/** @type {string} */ id) => location.pathname + writePlace({ ...place, product: id }),
};

function closePanel() {
  if (history.state?.isOpened) history.back();
  else go({ product: null }, { replace: true });
}

async function showStart() {
  const found = await chooseProducts(findSnapshot());
  return (found?.categories ?? []).map((category) => makeTile(category, {
    like: cardActions.like,
    browse: (value) => found && choose(found.name, { ...noChoice(), values: [value] }),
    address: (id) => location.pathname + writePlace({ ...nowhere(), likes: [{ kind: "product", value: id }] }),
  }));
}

/** Look which snapshot is served, and show what it says of itself. */
function findSnapshot() {
  snapshot ??= lookAtSnapshot();
  return snapshot;
}

async function lookAtSnapshot() {
  try {
    const found = await getSnapshot();
    if (found.id !== snapshotId) {
      if (snapshotId) forgetViews();
      snapshotId = found.id;
      $("count").textContent = `${number(found.products)} products`;
      $("count").title = `Snapshot ${found.id}`;
      sayAttribution(found.attribution);
      offerFilters(found).then(showOffered).catch(() => {});
    }
    return found;
  } catch (error) {
    snapshot = null;
    throw error;
  }
}

/** @param {import("./sort.js").Offered[]} ranges */
function showOffered(ranges) {
  offerOrders(ranges);
  showSort(place);
  showFilters(place);
  if (foundAt === nameResults(place)) countFilters(place);
}

/** @param {string} words Addresses in them become links. */
function sayAttribution(words) {
  const parts = String(words).split(/(https?:\/\/[^\s<>"')]+[^\s<>"').,;])/);
  $("attribution").replaceChildren(...parts.map((part) =>
    /^https?:\/\//.test(part) ? make("a", { href: part, rel: "noopener noreferrer" }, part.replace(/^https?:\/\//, "")) : part));
}

function lookAgain() {
  if (document.hidden || !snapshotId) return;
  snapshot = lookAtSnapshot();
  snapshot.catch(() => {});
}

/** @param {string} text Words of a title or a number; an address to what looks like its picture. */
function lookUp(text) {
  const address = findAddress(text);
  if (address) return searchBy(address);
  go({ likes: [], unlikes: [], crop: null, text: text.trim(), find: "", sort: "", product: null });
}

function prepareSkipLink() { // followed as a link, it would be a place in the history of its own
  $("skip").addEventListener("click", (event) => {
    event.preventDefault();
    $("results").scrollIntoView();
    $("results").focus({ preventScroll: true });
  });
}

prepareResults({ ...cardActions, clearFilters: clearChoices, count, startOver, showStart, suggest: (where) => suggest(where, choose),
  unlocked: () => { findSnapshot().catch(() => {}); hasArrived = false; arrive(place, { count: 0, scroll: 0 }); } });
prepareQuery({ crop: (crop) => go({ crop }), call: (text) => go({ text: text.trim(), product: null }), remove, open: cardActions.open });
prepareFilters({ choose, clear: clearFilters });
prepareSort((sort) => go({ sort }));
preparePanel({ ...cardActions, close: closePanel, turn: (id) => go({ product: id }, { replace: true }), listShown, chance: chanceShown });
prepareSkipLink();
listen({ onPicture: takePicture, onExample: takeExample });

for (const box of ["find-text", "also-text"]) offerSuggestions($input(box), () => writeConditions(place.filters));
$("find").addEventListener("submit", (event) => { event.preventDefault(); lookUp($input("find-text").value); });
$("start-over").addEventListener("click", startOver);
$("home").addEventListener("click", (event) => {
  if (/** @type {MouseEvent} */ (event).metaKey || /** @type {MouseEvent} */ (event).ctrlKey) return;
  event.preventDefault();
  startOver();
});
history.scrollRestoration = "manual";
window.addEventListener("popstate", ({ state }) =>
  arrive(readPlace(location.search), { count: state?.count ?? 0, scroll: state?.scroll ?? 0 }));
window.addEventListener("pagehide", rememberScroll);
document.addEventListener("scrollend", rememberScroll);
setInterval(lookAgain, LOOK_AGAIN);

sessionStorage.removeItem("tries"); // of view.js: all modules are here
findSnapshot().catch(() => {});
arrive(place, { count: history.state?.count ?? 0, scroll: history.state?.scroll ?? 0 });
