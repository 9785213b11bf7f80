// The search page. Everything that comes from the server is untrusted text: it is only ever set as textContent,
// as an attribute that takes no code, or as a picture of this same server.
"use strict";

const PAGE = 24;
const MAX_CHIPS = 16;
const MAX_SIDE = 1600; // no encoder looks at more, and a photo of 12 megapixels takes long to send
const SMALL_BYTES = 1.5 * 1024 * 1024;
const SMALL_COPY = "size=256"; // of a product's picture: sharp on a screen of two pixels a point
const ROOT = new URL("v1/", document.baseURI); // a proxy may serve this below a path

const $ = (id) => document.getElementById(id);
const state = { query: null, filters: new Map(), shown: 0, snapshot: null, asked: null, busy: null, preview: null };

// ---- the server ----------------------------------------------------------------------------------------------------

class Problem extends Error {
  constructor(problem, status) {
    super(problem.detail || "The server did not answer as expected.");
    Object.assign(this, { title: problem.title, code: problem.code || `http_${status}`, request: problem.request_id, status });
  }
}

// The key stays in this tab: it is gone when the tab is, and it is only ever sent to the server that sent this page.
const key = () => sessionStorage.getItem("key") || "";
const withKey = (headers = {}) => key() ? { ...headers, Authorization: `Bearer ${key()}` } : headers;

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: withKey(options.headers) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "The server cannot be reached", detail: "Check your connection and that it runs, then try again.", code: "unreachable" }, 0);
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Problem(body, response.status);
  return body;
}

// What was asked for last is what is shown: what was before it is stopped, and dropped where it comes late.
function begin() {
  state.busy?.abort();
  state.busy = new AbortController();
  return state.busy;
}

// In quotes, a name or a value is never taken for more than itself; the value of = has no quotes, that in a list has.
const PLAIN = /^[\p{L}\p{N}_-]+$/u;
const quoted = (words) => `"${words.replaceAll('"', '""')}"`;
function condition([name, value]) {
  return PLAIN.test(name) && PLAIN.test(value) ? `${name}=${value}` : `${quoted(name)} in ${quoted(value)}`;
}

async function ask(query, offset, signal) {
  const filters = [...state.filters].map(condition);
  const snapshot = offset ? state.asked : null; // further pages fit together with the first
  const picture = query.picture && await (query.sent ??= shrunk(query.picture));
  if (!picture || filters.some((filter) => /[\r\n]/.test(filter))) { // a form would change the ends of lines
    const asked = picture ? { image: await encoded(picture) } : { product_id: query.product };
    const body = JSON.stringify({ ...asked, k: PAGE, offset, filter: filters, snapshot });
    return call("v1/search", { method: "POST", body, headers: { "Content-Type": "application/json" }, signal });
  }
  const form = new FormData();
  form.append("image", picture, "query");
  form.append("k", PAGE);
  form.append("offset", offset);
  for (const filter of filters) form.append("filter", filter);
  if (snapshot) form.append("snapshot", snapshot);
  return call("v1/search", { method: "POST", body: form, signal });
}

// ---- what is shown -------------------------------------------------------------------------------------------------

const number = (value) => value.toLocaleString("en");
const isOurs = (address) => Boolean(address) && new URL(address, document.baseURI).href.startsWith(ROOT.href);
const smallCopy = (address) => `${address}${address.includes("?") ? "&" : "?"}${SMALL_COPY}`;
const text = (element, value) => { element.textContent = value; return element; };
const touch = matchMedia("(pointer: coarse)").matches;
const LEAD = touch ? "Show us a picture" : "Drop a picture here";
const HINT = touch ? "Take one, or choose it from your device" : "or paste one, or choose it from your device";
// A picture's address takes no header: where there is a key, the page fetches the picture itself.
async function showPicture(image, path, isWanted = () => true) {
  if (!key()) { image.src = path; return; }
  try {
    const response = await fetch(path, { headers: withKey() });
    if (!response.ok) throw new Error(response.status);
    const picture = await response.blob();
    if (!isWanted()) return;
    const address = URL.createObjectURL(picture);
    const free = () => URL.revokeObjectURL(address);
    image.addEventListener("load", free, { once: true });
    image.addEventListener("error", free, { once: true });
    image.src = address;
  } catch {
    if (isWanted()) image.dispatchEvent(new Event("error"));
  }
}

const make = (tag, className = "") => Object.assign(document.createElement(tag), { className });

function describe(attributes) {
  const value = (one) => Array.isArray(one) ? one.join(", ") : typeof one === "object" ? JSON.stringify(one) : String(one);
  return Object.entries(attributes)
    .filter(([, one]) => one !== null && one !== "" && !(Array.isArray(one) && !one.length))
    .map(([name, one]) => typeof one === "number" || typeof one === "boolean" ? `${name.replaceAll("_", " ")} ${one}` : value(one))
    .slice(0, 4).join(" · ");
}

function card(product) {
  const item = $("card").content.firstElementChild.cloneNode(true);
  const name = product.title || product.id;
  const image = item.querySelector("img");
  image.alt = name;
  image.addEventListener("error", () => image.parentElement.classList.add("broken"));
  if (isOurs(product.image_url)) showPicture(image, smallCopy(product.image_url));
  text(item.querySelector(".title"), name);
  text(item.querySelector(".attributes"), describe(product.attributes));
  if (product.score !== undefined) text(item.querySelector(".score"), product.score.toFixed(2));
  const button = item.querySelector("button");
  button.title = product.id;
  button.setAttribute("aria-label", `More like ${name}`);
  button.addEventListener("click", () => {
    show({ product: product.id, name, image: product.image_url }, true);
    $("results").focus({ preventScroll: true }); // this button is gone
  });
  return item;
}

function skeletons() {
  $("grid").replaceChildren(...Array.from({ length: 12 }, () => {
    const item = make("li");
    const box = make("div", "skeleton");
    box.append(make("i"), make("b"));
    item.append(box);
    item.setAttribute("aria-hidden", "true");
    return item;
  }));
}

function message(title, detail, { wrong = false, fine = "", retry = null, askKey = false } = {}) {
  $("message").hidden = false;
  $("key-form").hidden = !askKey;
  $("message").classList.toggle("wrong", wrong);
  text($("message-title"), title);
  text($("message-text"), detail);
  text($("message-fine"), fine);
  $("retry").hidden = !retry;
  $("retry").onclick = retry;
}

// What is hidden must not take the keyboard's place with it.
function hideMessage(next = $("results")) {
  if ($("message").contains(document.activeElement)) next.focus({ preventScroll: true });
  $("message").hidden = true;
}

function clearResults(title) {
  text($("results-title"), title);
  text($("note"), "");
  hideMessage();
  $("more").hidden = true;
  $("grid").replaceChildren();
}

// Where only a further page failed, what is shown stays.
function fail(error, again, further = false) {
  if (!further) {
    text($("results-title"), "");
    $("grid").replaceChildren();
  }
  $("more").hidden = true;
  if (error.code === "not_ready") {
    message("Nothing to search yet", error.message);
    setTimeout(again, 3000);
    return;
  }
  if (error.code === "unauthorized" || error.code === "forbidden") {
    const hint = key() ? "That key does not open it: it may be mistyped, expired or for something else." : "Whoever runs this server can give you one.";
    sessionStorage.removeItem("key");
    message("This catalogue takes a key", hint, { askKey: true });
    $("key-form").onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem("key", $("key").value.trim());
      $("key").value = "";
      loadSnapshot();
      again();
    };
    return;
  }
  const fine = [error.code, error.request].filter(Boolean).join(" · ");
  message(error.title || "That did not work", error.message, { wrong: true, fine, retry: again });
  if (further) { // it stands where "Show more" was
    $("retry").focus();
    $("message").scrollIntoView({ block: "nearest" });
  }
}

function preview(query) {
  const asked = query !== null;
  document.body.classList.toggle("asked", asked);
  $("clear").hidden = !asked;
  $("preview").hidden = !asked;
  if (state.preview) URL.revokeObjectURL(state.preview);
  state.preview = asked && query.picture ? URL.createObjectURL(query.picture) : null;
  text($("drop-lead"), !asked ? LEAD : query.picture ? "Your picture" : query.name);
  text($("drop-hint"), !asked ? HINT : query.picture ? (touch ? "Products that look like it" : "Drop or paste another one at any time") : "Products that look like this one");
  document.querySelector("label[for=file]").textContent = asked ? "Another picture" : "Choose a picture";
  if (!asked) { $("preview").removeAttribute("src"); return; }
  $("preview").alt = query.picture ? "Your picture" : query.name;
  if (state.preview) $("preview").src = state.preview;
  else if (isOurs(query.image)) {
    showPicture($("preview"), smallCopy(query.image), () => state.query === query);
  } else $("preview").src = "";
}

// ---- searching -----------------------------------------------------------------------------------------------------

async function show(query, remember = false) {
  state.query = query;
  if (remember) history.pushState(null, "", query.product !== undefined ? `/?like=${encodeURIComponent(query.product)}` : "/");
  preview(query);
  clearResults("Lookalikes");
  skeletons();
  if (remember) window.scrollTo({ top: 0 });
  await fetchHits(query, 0);
}

async function fetchHits(query, offset) {
  const busy = begin();
  $("more").disabled = true;
  try {
    const reply = await ask(query, offset, busy.signal);
    if (busy !== state.busy) return;
    showHits(query, reply, offset);
  } catch (error) {
    if (busy !== state.busy) return;
    if (error.code === "snapshot_not_held") return show(query);
    fail(error, () => busy === state.busy && (offset ? fetchHits(query, offset) : show(query)), offset > 0);
  } finally {
    if (busy === state.busy) $("more").disabled = false;
  }
}

function showHits(query, reply, offset) {
  state.asked = reply.snapshot;
  if (!offset) $("grid").replaceChildren();
  const cards = reply.hits.map(card);
  $("grid").append(...cards);
  hideMessage(offset ? cards[0]?.querySelector("button") : undefined);
  state.shown = offset + reply.hits.length;
  $("more").hidden = reply.hits.length < PAGE;
  if (!state.shown) {
    const why = state.filters.size ? "No product fits these filters. Take one away." : "No product looks like this.";
    message("No lookalikes", why);
  }
  text($("note"), `${number(state.shown)} shown · ${reply.took_ms.toFixed(0)} ms · `);
  $("note").append(text(make("span", "whole"), `snapshot ${reply.snapshot}`));
  if (reply.snapshot !== state.snapshot?.id) loadSnapshot();
}

async function showSamples() {
  state.query = null;
  const busy = begin();
  preview(null);
  clearResults("Or begin with one of these");
  skeletons();
  try {
    const filters = [...state.filters].map((one) => `filter=${encodeURIComponent(condition(one))}`);
    const reply = await call(`v1/products?${["limit=18", ...filters].join("&")}`, { signal: busy.signal });
    if (busy !== state.busy) return;
    hideMessage();
    $("grid").replaceChildren(...reply.products.map(card));
    if (!reply.products.length) message("No products", "No product fits these filters. Take one away.");
    if (!state.snapshot) loadSnapshot();
  } catch (error) {
    if (busy === state.busy) fail(error, () => busy === state.busy && showSamples());
  }
}

const again = () => state.query ? show(state.query) : showSamples();

// ---- pictures ------------------------------------------------------------------------------------------------------

function usePicture(file) {
  if (file) show({ picture: file }, true);
}

// What the browser cannot decode (TIFF, say) goes to the server as it is.
async function shrunk(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const scale = MAX_SIDE / Math.max(bitmap.width, bitmap.height);
    if (scale >= 1 && file.size <= SMALL_BYTES) return file;
    const canvas = make("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * Math.min(scale, 1)));
    canvas.height = Math.max(1, Math.round(bitmap.height * Math.min(scale, 1)));
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff"; // as the server does with transparency
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return await new Promise((done) => canvas.toBlob((blob) => done(blob || file), "image/jpeg", 0.92));
  } catch {
    return file;
  }
}

function encoded(file) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => done(reader.result));
    reader.addEventListener("error", () => failed(new Problem({ detail: "The picture cannot be read." }, 0)));
    reader.readAsDataURL(file);
  });
}

const pictureOf = (data) => [...(data?.files || [])].find((file) => file.type.startsWith("image/")) || data?.files?.[0];
const holdsFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");

let depth = 0;
function over(change) {
  depth = Math.max(0, depth + change);
  $("veil").hidden = !depth;
  $("drop").classList.toggle("over", depth > 0);
}

document.addEventListener("dragenter", (event) => { if (holdsFiles(event)) { event.preventDefault(); over(1); } });
document.addEventListener("dragleave", (event) => { if (holdsFiles(event)) over(-1); });
document.addEventListener("dragover", (event) => { if (holdsFiles(event)) event.preventDefault(); });
document.addEventListener("drop", (event) => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  depth = 0;
  over(0);
  usePicture(pictureOf(event.dataTransfer));
});
document.addEventListener("paste", (event) => {
  const picture = pictureOf(event.clipboardData);
  if (picture) { event.preventDefault(); usePicture(picture); }
});

// ---- the snapshot, and filters from its attributes -----------------------------------------------------------------

async function loadSnapshot() {
  let found;
  try {
    found = await call("v1/snapshots/current");
  } catch {
    return; // the results say what is wrong
  }
  const before = state.snapshot;
  state.snapshot = found;
  const id = text(make("code", "long"), found.id);
  $("facts").replaceChildren(`${number(found.products)} products`, text(make("span", "long"), " · "), id);
  $("facts").title = `Snapshot ${found.id}, made ${new Date(found.created_at).toLocaleString()}`;
  linked($("attribution"), found.attribution);
  if (JSON.stringify(before?.attributes) !== JSON.stringify(found.attributes)) showFilters(found.attributes);
}

function linked(element, words) {
  element.replaceChildren(...String(words).split(/(https?:\/\/[^\s<>"')]+[^\s<>"').,;])/).map((part) => {
    if (!/^https?:\/\//.test(part)) return part;
    return Object.assign(text(make("a"), part.replace(/^https?:\/\//, "")), { href: part, rel: "noopener noreferrer" });
  }));
}

function showFilters(attributes) {
  const useful = Object.entries(attributes).filter(([, one]) => one.values && Object.keys(one.values).length > 1);
  const first = ([name]) => name === "category" ? 0 : 1;
  useful.sort((a, b) => first(a) - first(b));
  for (const [name, value] of state.filters) {
    if (!Object.hasOwn(attributes[name]?.values || {}, value)) state.filters.delete(name);
  }
  $("filters").replaceChildren(...useful.slice(0, 5).map(([name, one], place) => {
    const values = Object.entries(one.values);
    return place === 0 && values.length <= MAX_CHIPS ? chips(name, values) : choice(name, values);
  }));
  $("filters").hidden = !useful.length;
}

// The empty text is a value like others; null is none.
function setFilter(name, value) {
  if (value !== null) state.filters.set(name, value); else state.filters.delete(name);
  again();
}

const labelled = (value) => value.trim() ? value : "(blank)";

function chips(name, values) {
  const group = make("fieldset", "filter chips");
  const buttons = [[null, "All"], ...values.map(([value]) => [value, labelled(value)])].map(([value, label]) => {
    const button = text(make("button", "chip"), label);
    button.type = "button";
    button.setAttribute("aria-pressed", String((state.filters.get(name) ?? null) === value));
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      setFilter(name, value);
    });
    return button;
  });
  group.append(text(make("legend", "filter-name"), name.replaceAll("_", " ")), ...buttons);
  return group;
}

function choice(name, values) {
  const label = text(make("label", "filter"), "");
  const select = make("select");
  const options = values.map(([value, count]) => new Option(`${labelled(value)} (${number(count)})`));
  select.append(new Option("any"), ...options);
  select.selectedIndex = values.findIndex(([value]) => value === state.filters.get(name)) + 1;
  select.addEventListener("change", () => setFilter(name, values[select.selectedIndex - 1]?.[0] ?? null));
  label.append(text(make("span", "filter-name"), name.replaceAll("_", " ")), select);
  return label;
}

// ---- begin ---------------------------------------------------------------------------------------------------------

function fromAddress() {
  const like = new URLSearchParams(location.search).get("like");
  if (like === null) return showSamples();
  const query = { product: like, name: like, image: "" };
  show(query);
  introduce(query);
}

async function introduce(query) {
  try {
    const id = encodeURIComponent(query.product);
    const product = await call(/^\.{1,2}$/.test(id) ? `v1/products/_?id=${id}` : `v1/products/${id}`);
    Object.assign(query, { name: product.title || product.id, image: product.image_url });
    if (state.query === query) preview(query);
  } catch { /* the search says what is wrong */ }
}

// Followed as a link, it would be a place in the history of its own, and the page cannot tell what was shown there.
$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("results").scrollIntoView();
  $("results").focus({ preventScroll: true });
});
$("file").addEventListener("change", () => { usePicture($("file").files[0]); $("file").value = ""; });
$("preview").addEventListener("error", () => { $("preview").hidden = true; });
$("clear").addEventListener("click", () => { history.pushState(null, "", "/"); showSamples(); $("file").focus(); });
$("more").addEventListener("click", () => fetchHits(state.query, state.shown));
$("filters").addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("popstate", fromAddress);
setInterval(() => { if (!document.hidden && state.snapshot) loadSnapshot(); }, 15000);

loadSnapshot();
fromAddress();
