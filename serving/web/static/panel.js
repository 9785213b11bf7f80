// The panel: one product, large, with all that is known of it, and what is like it.

import { addressOfView, getProduct, post, showPicture } from "./api.js";
import { makeCard, makeCloseness, makePrice } from "./cards.js";
import { $, $dialog, $image, announce, button, icon, make } from "./dom.js";
import { LIMITS } from "./limits.js";
import { findBrand, findLink, findPrice, findText, listDetails, nameOf } from "./roles.js";
import { advise, counted } from "./words.js";
import { Problem } from "./api.js";

/**
 * @typedef {import("./api.js").Product} Product
 * @typedef {import("./cards.js").CardActions & {close: () => void, turn: (id: string) => void,
 *   listShown: () => Product[], chance: () => number}} PanelActions
 */

const STRIP = 12;
const PICTURE = 1024;
const VIEW = 128;

/** @type {PanelActions} */
let actions;
/** @type {string | null} */
let current = null;
let stop = new AbortController();

/** @param {PanelActions} given */
export function preparePanel(given) {
  actions = given;
  const panel = $dialog("panel");
  panel.addEventListener("cancel", (event) => { event.preventDefault(); actions.close(); });
  panel.addEventListener("click", (event) => { if (event.target === panel) actions.close(); });
  $("panel-close").addEventListener("click", () => actions.close());
  $("panel-back").addEventListener("click", () => turn(-1));
  $("panel-next").addEventListener("click", () => turn(1));
  panel.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.target === $("zoom-frame") && isZoomed()) return;
    event.preventDefault();
    turn(step);
  });
  prepareZoom();
  prepareSwipe();
  $image("panel-picture").addEventListener("error", () => $("zoom-frame").classList.add("broken"));
}

/** @param {number} step */
function turn(step) {
  const products = actions.listShown();
  const at = products.findIndex(({ id }) => id === current);
  const next = at < 0 ? undefined : products[at + step];
  if (next) actions.turn(next.id);
}

/** @param {string | null} id */
export async function showPanel(id) {
  const panel = $dialog("panel");
  if (id === current && panel.open === (id !== null)) return;
  current = id;
  stop.abort();
  stop = new AbortController();
  if (id === null) return panel.close();
  const { signal } = stop;
  const known = actions.listShown().find((one) => one.id === id);
  clear();
  if (!panel.open) panel.showModal();
  $("panel-scroll").scrollTop = 0;
  if (known) draw(known);
  try {
    const product = known ?? (await getProduct(id, signal));
    if (signal.aborted) return;
    if (!known) draw(product);
    const several = known?.view && !known.pictures ? await getProduct(id, signal) : product;
    if (signal.aborted) return;
    drawViews(several.pictures ?? 1, product);
    await drawStrips(product, signal);
  } catch (error) {
    if (!signal.aborted) sayProblem(error);
  }
}

function clear() {
  zoom(false);
  const image = $image("panel-picture");
  image.removeAttribute("srcset");
  image.removeAttribute("src");
  image.alt = "";
  $("zoom-frame").classList.remove("broken");
  for (const part of ["panel-title", "panel-views", "panel-facts", "panel-text", "panel-actions", "panel-details", "panel-strips"]) $(part).replaceChildren();
  $("panel-problem").textContent = "";
}

/** @param {Product} product */
function draw(product) {
  const image = $image("panel-picture");
  image.alt = nameOf(product);
  showPicture(image, product.image_url, [PICTURE]);
  $("panel-title").textContent = nameOf(product);
  const price = findPrice(product);
  const facts = [
    findBrand(product) && make("span", { className: "about" }, findBrand(product)),
    price && makePrice(price),
    product.score !== undefined && makeCloseness(product.score, actions.chance()),
  ];
  $("panel-facts").replaceChildren(.../** @type {Node[]} */ (facts.filter(Boolean)));
  $("panel-text").textContent = findText(product);
  drawActions(product);
  const details = [...listDetails(product), ["Number", product.id]];
  $("panel-details").replaceChildren(...details.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  const products = actions.listShown();
  const at = products.findIndex(({ id }) => id === product.id);
  $("panel-back").toggleAttribute("disabled", at <= 0);
  $("panel-next").toggleAttribute("disabled", at < 0 || at === products.length - 1);
  announce(nameOf(product));
}

/** Show all pictures of a product as small ones; the one that is shown large is pressed.
 * @param {number} count @param {Product} product */
function drawViews(count, product) {
  /** @param {number} view */
  const makeView = (view) => {
    const image = make("img", { alt: "", decoding: "async", width: 64, height: 64 });
    const choice = make("button", { type: "button", className: "panel-view", ariaLabel: `Picture ${view} of ${count}` }, image);
    const address = addressOfView(product.image_url, view);
    choice.setAttribute("aria-pressed", String(view === (product.view ?? 1)));
    choice.addEventListener("click", () => {
      zoom(false);
      showPicture($image("panel-picture"), address, [PICTURE]);
      for (const one of $("panel-views").children) one.setAttribute("aria-pressed", String(one === choice));
    });
    showPicture(image, address, [VIEW]);
    return choice;
  };
  $("panel-views").replaceChildren(...(count > 1 ? Array.from({ length: count }, (_, at) => makeView(at + 1)) : []));
}

/** @param {Product} product */
function drawActions(product) {
  const { id } = product;
  /** @type {HTMLElement[]} */
  const parts = [button("button primary", "Find lookalikes", () => actions.like(id))];
  const link = findLink(product);
  if (link) parts.push(make("a", { className: "button", href: link, target: "_blank", rel: "noopener noreferrer" }, "To the shop", icon("out")));
  parts.push(make("span", { className: "panel-tools" },
    button("round", "More like this", () => actions.add(id, true), "plus"),
    button("round", "Less like this", () => actions.add(id, false), "minus"),
    button("round", "Copy link", () => copyLink(id), "link")));
  $("panel-actions").replaceChildren(...parts);
}

/** @param {string} id */
async function copyLink(id) {
  const address = new URL(actions.address(id), location.href).href;
  try {
    await navigator.clipboard.writeText(address);
    $("panel-problem").textContent = "Link copied";
  } catch { // not on a page that is not https
    const input = make("input", { value: address, readOnly: true, className: "address", "aria-label": "Link to this product" });
    $("panel-problem").replaceChildren(input);
    input.select();
  }
}

/** @param {Product} product @param {AbortSignal} signal */
async function drawStrips(product, signal) {
  const query = { product_id: product.id, k: Math.min(STRIP, LIMITS.k) };
  const copies = product.hidden ? [{ ...query, k: Math.min(product.hidden, query.k) }] : [];
  const { results } = await post("search/batch", { queries: [...copies, { ...query, collapse: "duplicates" }] }, signal);
  if (signal.aborted) return;
  const known = copies.length ? results[0].hits ?? [] : [];
  const seen = new Set(known.map((/** @type {Product} */ one) => one.id));
  const others = (results[copies.length].hits ?? []).filter((/** @type {Product} */ one) => !seen.has(one.id));
  const strips = [
    [`The same picture (${counted(product.hidden ?? 0, "product", "products")})`, known],
    ["More like this", others],
  ];
  $("panel-strips").replaceChildren(...strips.filter(([, products]) => products.length).map(([title, products]) =>
    make("section", { className: "strip" }, make("h3", {}, title), make("ul", {}, ...products.map(makeSmall)))));
}

/** @param {Product} product */
function makeSmall(product) {
  return makeCard({ ...product, score: undefined, hidden: 0 }, 0, { ...actions, open: actions.turn });
}

/** @param {unknown} error */
function sayProblem(error) {
  const { title, text } = advise(error instanceof Problem ? error : new Problem("page_failed", String(error)));
  if (!$("panel-title").textContent) $("panel-title").textContent = title;
  $("panel-problem").textContent = text;
  for (const part of ["panel-back", "panel-next"]) $(part).toggleAttribute("disabled", true);
}

const isZoomed = () => $("zoom-frame").classList.contains("zoomed");

/** @param {boolean} isOn @param {number} [x] @param {number} [y] where to look, from 0 to 1 */
function zoom(isOn, x = 0.5, y = 0.5) {
  const frame = $("zoom-frame");
  frame.classList.toggle("zoomed", isOn);
  $("zoom").setAttribute("aria-pressed", String(isOn));
  frame.scrollLeft = (frame.scrollWidth - frame.clientWidth) * x;
  frame.scrollTop = (frame.scrollHeight - frame.clientHeight) * y;
}

function prepareZoom() {
  const frame = $("zoom-frame");
  const placeOf = (/** @type {MouseEvent} */ { clientX, clientY }) => {
    const { left, top, width, height } = frame.getBoundingClientRect();
    return /** @type {const} */ ([(clientX - left) / width, (clientY - top) / height]);
  };
  $("zoom").addEventListener("click", () => zoom(!isZoomed()));
  frame.addEventListener("click", (event) => zoom(!isZoomed(), ...placeOf(event)));
  frame.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && isZoomed()) zoom(true, ...placeOf(event));
  });
}

function prepareSwipe() {
  let from = 0;
  const frame = $("zoom-frame");
  frame.addEventListener("touchstart", (event) => { from = event.touches[0].clientX; }, { passive: true });
  frame.addEventListener("touchend", (event) => {
    const by = event.changedTouches[0].clientX - from;
    if (!isZoomed() && Math.abs(by) > 60) turn(by < 0 ? 1 : -1);
  });
}
