// Results: the grid of what was found. It grows as one scrolls, and tries again when the line is back.

import { isWeak, makeCard, makeSkeletons } from "./cards.js";
import { $, announce, button, make } from "./dom.js";
import { LIMITS } from "./limits.js";
import { nameResults } from "./place.js";
import { find, findChance, isSearch } from "./search.js";
import { WEAK, advise, counted, number, sayUnderstood } from "./words.js";
import { Problem, forgetKey, key, setKey } from "./api.js";

/**
 * @typedef {import("./api.js").Product} Product
 * @typedef {import("./place.js").Place} Place
 * @typedef {{products: Product[], snapshot: string | null, chance: number, total: number | null, matching: number | null, ms: number | null,
 *   isWhole: boolean, understood?: import("./api.js").Understood}} View
 * @typedef {{place: Place, name: string, view: View, stop: AbortController, tries: number, timer: number}} Shown
 * @typedef {import("./cards.js").CardActions & {clearFilters: () => void, count: () => void, startOver: () => void, unlocked: () => void,
 *   showStart: () => Promise<HTMLElement[]>,
 *   suggest: (place: Place) => Promise<Node | null>}} ResultActions
 */

const PAGE = Math.min(24, LIMITS.k);
const MOST_AT_ONCE = Math.min(240, LIMITS.k);
const FURTHEST = LIMITS.offset;
const AHEAD = 800;
const KEPT_VIEWS = 12;
const PATIENCE = [1, 2, 4, 8, 15, 30];

/** @type {ResultActions} */
let actions;
/** @type {Map<string, View>} */
const views = new Map();
/** @type {Shown | null} */
let shown = null;

/** @param {ResultActions} given */
export function prepareResults(given) {
  actions = given;
  const margin = { rootMargin: `${AHEAD}px 0px` };
  new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting)) showMore(); }, margin).observe($("end"));
  window.addEventListener("online", () => tryAgain());
  document.addEventListener("visibilitychange", () => { if (!document.hidden) tryAgain(); });
  $("figures").addEventListener("click", () => {
    const isOn = document.body.classList.toggle("figures");
    $("figures").setAttribute("aria-pressed", String(isOn));
  });
  $("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    setKey(/** @type {HTMLInputElement} */ ($("key")).value.trim());
    /** @type {HTMLInputElement} */ ($("key")).value = "";
    actions.unlocked();
  });
}

/** Return the products that are shown, in their order. */
export const listShown = () => shown?.view.products ?? [];
export const countShown = () => listShown().length;
export const chanceShown = () => shown?.view.chance ?? 0;

/**
 * Show what is found at a place, with as many products as there were when it was left.
 *
 * @param {Place} place
 * @param {number} count
 */
export async function showResults(place, count) {
  shown?.stop.abort();
  clearTimeout(shown?.timer);
  const name = nameResults(place);
  const known = views.get(name);
  /** @type {View} */
  const view = known ?? { products: [], snapshot: null, chance: 0, total: null, matching: null, ms: null, isWhole: false };
  const mine = { place, name, view, stop: new AbortController(), tries: 0, timer: 0 };
  shown = mine;
  hideMessage();
  if (known) return draw(mine, known.products, true);
  $("grid").replaceChildren(...makeSkeletons(12));
  entitle(name ? (place.likes.length ? "Lookalikes" : "Products") : "Start with these");
  say(mine);
  if (!name) return showStart(mine);
  await load(mine, Math.min(Math.max(count, PAGE), MOST_AT_ONCE));
}

/** Forget what was found: another snapshot is served. */
export const forgetViews = () => views.clear();

/** @param {Shown} mine */
async function showStart(mine) {
  try {
    const tiles = await actions.showStart();
    if (shown !== mine) return;
    if (!tiles.length) return void (await load(mine, PAGE));
    hideMessage();
    $("grid").replaceChildren(...tiles);
    actions.count();
  } catch (error) {
    fail(mine, error, () => showStart(mine));
  }
}

/** @param {Shown} mine @param {number} count */
async function load(mine, count) {
  const { view, place } = mine;
  const offset = view.products.length;
  $("grid").setAttribute("aria-busy", "true");
  try {
    const found = await find(place, { offset, count, snapshot: offset ? view.snapshot : null }, mine.stop.signal);
    const isScored = found.products[0]?.score !== undefined && place.likes.length > 0;
    view.chance = isScored ? await findChance(found.snapshot, found.products) : 0;
    if (shown !== mine) return;
    mine.tries = 0;
    const { snapshot, total, matching, ms } = found;
    Object.assign(view, { snapshot, total, matching, ms, understood: found.understood ?? view.understood });
    view.isWhole = found.products.length < Math.min(count, isSearch(place) && found.total === null ? count : 100) || offset + count > FURTHEST;
    view.products.push(...found.products);
    remember(mine);
    draw(mine, found.products, !offset);
  } catch (error) {
    if (shown === mine && error instanceof Problem && error.code === "snapshot_not_held" && offset) return void again(mine);
    fail(mine, error, () => load(mine, count));
  } finally {
    if (shown === mine) {
      $("grid").removeAttribute("aria-busy");
      requestAnimationFrame(() => { if ($("end").getBoundingClientRect().top < innerHeight + AHEAD) showMore(); });
    }
  }
}

/** @param {Shown} mine A newer snapshot is served, whose pages do not fit to those before. */
function again(mine) {
  views.delete(mine.name);
  return showResults(mine.place, mine.view.products.length);
}

/** @param {Shown} mine */
function remember(mine) {
  views.delete(mine.name);
  views.set(mine.name, mine.view);
  const [oldest] = views.keys();
  if (views.size > KEPT_VIEWS) views.delete(oldest);
}

/** @param {Shown} mine @param {Product[]} products @param {boolean} isFirst */
function draw(mine, products, isFirst) {
  const { view } = mine;
  const cards = products.flatMap((product) => {
    const card = makeCard(product, view.chance, actions);
    const isFirstWeak = !mine.place.sort && isWeak(product, view.chance) && view.products.find((one) => isWeak(one, view.chance)) === product;
    return isFirstWeak ? [make("li", { className: "line" }, make("h3", {}, WEAK)), card] : [card];
  });
  hideMessage();
  if (isFirst) $("grid").replaceChildren(...cards);
  else $("grid").append(...cards);
  entitle(mine.place.likes.length ? "Lookalikes" : titleOf(mine));
  say(mine);
  if (isFirst) actions.count();
  if (!view.products.length) showEmpty(mine);
  else if (isFirst) announce(`${counted(view.products.length, "product", "products")} shown`);
  else announce(`${counted(products.length, "more product", "more products")} shown`);
}

/** @param {string} words Where there is nothing to see, the title is for those who listen. */
function entitle(words) {
  $("results-title").textContent = words || "Results";
  $("results-title").classList.toggle("unseen", !words);
}

/** @param {Shown} mine */
const titleOf = ({ view }) => (view.total === null ? "Products" : counted(view.total, "product", "products"));

/** @param {Shown} mine */
function say({ view, place }) {
  const seconds = view.ms === null ? "" : `${number(Math.round(view.ms))} ms`;
  $("note").textContent = seconds;
  const isNarrowed = isSearch(place) && place.filters.size > 0 && view.matching !== 0;
  $("matching").textContent = view.matching === null ? "\u00a0" : sayMatching(view.matching, place.filters.size);
  $("matching").hidden = !isNarrowed;
  $("note").title = view.snapshot ? `Snapshot ${view.snapshot}` : "";
  $("figures").hidden = view.products[0]?.score === undefined;
  const words = view.understood && view.products.length ? sayUnderstood(view.understood) : "";
  $("understood").textContent = words;
  $("understood").hidden = !words;
}

/** @param {number} products @param {number} filters */
const sayMatching = (products, filters) =>
  `${counted(products, "product matches", "products match")} the ${filters === 1 ? "filter" : "filters"}`;

function showMore() {
  if (!shown || shown.view.isWhole || !shown.view.products.length || !$("message").hidden) return;
  if ($("grid").getAttribute("aria-busy") === "true") return;
  load(shown, PAGE);
}

/** @param {Shown} mine */
async function showEmpty(mine) {
  $("grid").replaceChildren();
  entitle("");
  const { place } = mine;
  const isFiltered = place.filters.size > 0;
  const called = place.find || (place.likes.length ? "" : place.text);
  const title = called && !isFiltered ? `Nothing is called “${called}”` : "Nothing fits";
  const text = isFiltered ? "No product fits all of these filters."
    : called ? "Look for another word, or show us a picture."
    : isSearch(place) ? "No product looks like this." : "There are no products yet.";
  showMessage({ title, text });
  if (!isFiltered) return;
  $("message-actions").append(button("button", "Clear all filters", actions.clearFilters));
  const nearest = await actions.suggest(place).catch(() => null);
  if (nearest && shown === mine) $("message-text").append(nearest);
}

/**
 * Show in a shopper's words what went wrong. What was found before stays.
 *
 * @param {Shown} mine
 * @param {unknown} error
 * @param {() => void} retry
 */
function fail(mine, error, retry) {
  if (shown !== mine || (error instanceof DOMException && error.name === "AbortError")) return;
  const problem = error instanceof Problem ? error : new Problem("page_failed", String(error));
  if (!(error instanceof Problem)) console.error(error);
  if (!mine.view.products.length) {
    $("grid").replaceChildren();
    entitle("");
  }
  if (problem.code === "unauthorized" || problem.code === "forbidden") return askForKey();
  const advice = advise(problem);
  showMessage(advice);
  const run = () => { clearTimeout(mine.timer); if (shown === mine) { hideMessage(); retry(); } };
  retryNow = advice.waits ? run : null;
  if (advice.again || advice.waits) $("message-actions").append(button("button", "Try again", run));
  if (advice.loose) $("message-actions").append(button("button", "Clear all filters", actions.clearFilters));
  if (!advice.again && !advice.waits && !advice.loose) $("message-actions").append(button("button", "Start over", actions.startOver));
  if (!advice.waits) return;
  const pause = Math.max(problem.retryAfter, PATIENCE[Math.min(mine.tries, PATIENCE.length - 1)]);
  mine.tries += 1;
  mine.timer = window.setTimeout(run, pause * 1000);
}

/** @type {(() => void) | null} */
let retryNow = null;
function tryAgain() {
  const run = retryNow;
  retryNow = null;
  if (!$("message").hidden) run?.();
}

function askForKey() {
  const hint = key() ? "That key does not open it: it may be mistyped, expired or for something else." : "Whoever runs this server can give you one.";
  forgetKey();
  showMessage({ title: "These products take a key", text: hint });
  $("key-form").hidden = false;
}

/** @param {{title: string, text: string, fine?: string}} advice */
function showMessage({ title, text, fine = "" }) {
  $("message").hidden = false;
  $("key-form").hidden = true;
  $("message-title").textContent = title;
  $("message-text").textContent = text;
  $("message-fine").textContent = fine;
  $("message-actions").replaceChildren();
}

/** What is hidden must not take the keyboard's place with it. */
function hideMessage() {
  if ($("message").contains(document.activeElement)) $("results").focus({ preventScroll: true });
  $("message").hidden = true;
  retryNow = null;
}
