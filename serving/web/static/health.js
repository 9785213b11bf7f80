// The health of the served products: duplicates, strays, poor pictures and queries without a match. Nothing of it is
// looked for before somebody asks.

import { get, getSnapshot, ROOT, showPicture } from "./api.js";
import { $, announce, make } from "./dom.js";
import { findRole } from "./roles.js";

/**
 * @typedef {{id: string, title: string, image_url: string}} Shown
 * @typedef {{size: number, same_file: boolean, products: Shown[]}} Group
 * @typedef {Shown & {value: string, others: string, count: number, score: number}} Stray
 * @typedef {{attribute: string, examined: number, count: number, chance: number, products: Stray[]}} Strays
 * @typedef {{snapshot: string, created_at: string, products: number,
 *   last_run: {message: string, state: string, started_at: string} | null,
 *   duplicates: {examined: number, groups: number, products: number, largest: Group[]}, strays: Strays | null,
 *   best_scores: Array<{most: number, count: number}>}} Catalogue
 * @typedef {Shown & {fault: string, detail: string, width: number, height: number, sharpness: number}} Poor
 * @typedef {{snapshot: string, examined: number, pictures: Poor[]}} PoorPictures
 */

const SIZE = 128;
const SIMILAR = 0.2; // of the way from chance to the same, as the search page has it
const count = new Intl.NumberFormat("en");
const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
/** @type {Array<[Intl.RelativeTimeFormatUnit, number]>} */
const UNITS = [["day", 86_400], ["hour", 3600], ["minute", 60]];

const select = () => /** @type {HTMLSelectElement} */ ($("health-attribute"));

/** Offer the attributes that may name kinds of products, and listen. */
export function prepareHealth() {
  $("health-form").addEventListener("submit", (event) => { event.preventDefault(); ask("health-do", showCatalogue); });
  $("pictures-do").addEventListener("click", () => ask("pictures-do", showPictures));
}

/** @param {string | null} served Offer what the served snapshot has, once for each. */
export async function offerKinds(served) {
  if (!served) $("health-section").hidden = true;
  if (!served || select().dataset.snapshot === served) return;
  select().dataset.snapshot = served;
  const { attributes } = await getSnapshot();
  const names = Object.keys(attributes).filter((name) => attributes[name].type === "string" && attributes[name].values);
  const chosen = select().value || names.find((name) => findRole(name) === "category") || "";
  select().replaceChildren(...["", ...names].map((name) => make("option", { value: name, selected: name === chosen }, name || "nothing")));
  $("health-section").hidden = false;
}

/** @param {string} id @param {() => Promise<void>} work */
async function ask(id, work) {
  const button = /** @type {HTMLButtonElement} */ ($(id));
  $("health-trouble").hidden = true;
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    await work();
    announce("Done");
  } catch (error) {
    $("health-trouble").textContent = /** @type {Error} */ (error).message;
    $("health-trouble").hidden = false;
  }
  button.disabled = false;
  button.removeAttribute("aria-busy");
}

async function showCatalogue() {
  const attribute = select().value;
  const query = attribute ? `?${new URLSearchParams({ attribute })}` : "";
  /** @type {Catalogue} */
  const found = await get(new URL(`admin/catalogue${query}`, ROOT));
  const parts = [sayAge(found), showDuplicates(found), showScores(found)];
  if (found.strays) parts.push(showStrays(found.strays));
  $("health").replaceChildren(...parts);
}

/** @param {string} title @param {string} text @param {...HTMLElement} content */
const side = (title, text, ...content) =>
  make("div", { className: "side" }, make("h3", {}, title), make("p", { className: "aside" }, text), ...content);

/** @param {Catalogue} found */
function sayAge({ created_at, last_run, products }) {
  const looked = last_run
    ? `The catalogue was last looked at ${sayAgo(last_run.started_at)}: ${last_run.message || last_run.state}.`
    : "No run of this channel has left a report.";
  return side("Freshness", `${count.format(products)} products, made ${sayAgo(created_at)}. ${looked}`);
}

/** @param {string} when */
function sayAgo(when) {
  const seconds = (Date.now() - new Date(when).getTime()) / 1000;
  const [unit, length] = UNITS.find(([, one]) => seconds >= one) ?? ["minute", 60];
  return ago.format(-Math.round(seconds / length), unit);
}

/** @param {Catalogue} found */
function showDuplicates({ products, duplicates: { examined, groups, products: same, largest } }) {
  const among = examined < products ? `Among ${count.format(examined)} products: ` : "";
  const words = groups ? `${count.format(groups)} groups with ${count.format(same)} products` : "no two show the same";
  const rows = largest.map(({ size, same_file: isSameFile, products: some }) =>
    make("li", { className: "group" },
      make("span", { className: "moved" }, `${count.format(size)} with ${isSameFile ? "the same file" : "nearly the same picture"}`),
      make("span", { className: "thumbs" }, ...some.map(thumb))));
  return side("Duplicates", `${among}${words}.`, make("ul", { className: "hits" }, ...rows));
}

/** @param {Strays} strays */
function showStrays({ attribute, examined, count: found, products }) {
  const words = `Among products of another ${attribute}: ${count.format(found)} of ${count.format(examined)}.`;
  const rows = products.map((one) => row(one, `${one.value}; ${one.count} of the 10 nearest: ${one.others}`, one.score.toFixed(2)));
  return side("In the wrong place?", words, make("ul", { className: "hits" }, ...rows));
}

/** @param {Catalogue} found */
function showScores({ best_scores: scores, strays }) {
  const queries = scores.reduce((sum, one) => sum + one.count, 0);
  if (!queries) return side("Best hits of queries", "No picture has been searched for since this server started.");
  const least = strays ? strays.chance + SIMILAR * (1 - strays.chance) : 0;
  const weak = scores.filter(({ most }) => most <= least).reduce((sum, one) => sum + one.count, 0);
  const nothing = strays ? `; ${count.format(weak)} found nothing similar` : "";
  const words = `${count.format(queries)} queries by picture since this server started${nothing}.`;
  const tallest = Math.max(...scores.map((one) => one.count));
  const bars = scores.map(({ most, count: many }) => {
    const bar = make("meter", { max: tallest, value: many, "aria-hidden": "true", className: most <= least ? "weak" : "" });
    const name = most <= 0 ? "0 or none" : `${(most - 0.1).toFixed(1)} to ${most.toFixed(1)}`;
    return make("li", {}, make("span", { className: "moved" }, name), bar, make("span", { className: "number" }, count.format(many)));
  });
  return side("Best hits of queries", words, make("ol", { className: "bars" }, ...bars));
}

async function showPictures() {
  /** @type {PoorPictures} */
  const { examined, pictures } = await get(new URL("admin/catalogue/pictures", ROOT));
  const words = `Of ${count.format(examined)} pictures, chosen by chance, ${count.format(pictures.length)} are tiny, blurred or missing.`;
  const rows = pictures.map((one) => row(one, sayFault(one), one.fault === "missing" ? "" : `${one.width}×${one.height}`));
  $("pictures").replaceChildren(side("Pictures", words, make("ul", { className: "hits" }, ...rows)));
}

/** @param {Poor} picture */
const sayFault = ({ fault, detail }) => (detail && detail !== fault ? `${fault}: ${detail.replaceAll("_", " ")}` : fault);

/** @param {Shown} product @param {string} words @param {string} figure */
function row(product, words, figure) {
  const name = make("span", { className: "hit", title: product.id }, product.title || product.id, make("span", { className: "aside" }, words));
  return make("li", { className: "told" }, thumb(product), name, make("span", { className: "number" }, figure));
}

/** @param {Shown} product */
function thumb(product) {
  const image = make("img", { alt: "", width: 48, height: 48, loading: "lazy", title: product.title || product.id });
  image.addEventListener("error", () => image.replaceWith(make("span", { className: "no-picture" })), { once: true });
  showPicture(image, product.image_url, [SIZE]);
  return image;
}
