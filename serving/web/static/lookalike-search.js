// <lookalike-search>: search by picture on a shop's own page. One file, without others; it runs on any page that may
// ask the server (LOOKALIKE_WEB__CORS_ORIGINS). docs/widget.md describes it.

/**
 * @typedef {{id: string, title: string, attributes: Record<string, any>, image_url: string, score: number}} Hit
 */

const OWN_SERVER = import.meta.url.replace(/static\/.*$/, "");
const MAX_SIDE = 800;
const WAIT = 1200;
const STYLE = `
:host { display: block; font: inherit; color: inherit; --gap: 16px; --radius: 12px; --accent: #4338ca; --frame: #f5f4f1; }
:host([hidden]), [hidden] { display: none; }
form { margin: 0; }
label { display: inline-flex; align-items: center; gap: 10px; min-height: 48px; padding: 0 24px; border-radius: 999px; background: var(--accent); color: #fff; font-weight: 600; cursor: pointer; }
input { position: absolute; opacity: 0; width: 1px; height: 1px; }
input:focus-visible + label, a:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; }
:host([over]) form { outline: 3px dashed var(--accent); outline-offset: 8px; border-radius: var(--radius); }
p { min-height: 1.5em; margin: 12px 0; }
ul { list-style: none; margin: 0; padding: 0; display: grid; gap: calc(var(--gap) * 1.4) var(--gap); grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); }
a { display: block; color: inherit; text-decoration: none; border-radius: var(--radius); }
span { display: block; overflow-wrap: anywhere; }
.frame { aspect-ratio: 1; overflow: hidden; border-radius: var(--radius); background: var(--frame); margin-bottom: 8px; }
img { width: 100%; height: 100%; object-fit: cover; display: block; mix-blend-mode: multiply; }
.price { font-weight: 600; }
`;

/** @param {URL} address of a picture, which may say which of several it is */
function sized(address) {
  address.searchParams.set("size", "256");
  return address.href;
}

class LookalikeSearch extends HTMLElement {
  static observedAttributes = ["similar-to", "filter"];
  /** @type {AbortController | null} */
  #asked = null;
  /** @type {Blob | null} */
  #picture = null;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    const style = new CSSStyleSheet(); // a strict policy of the page allows it, unlike a style element
    style.replaceSync(STYLE);
    root.adoptedStyleSheets = [style];
    const button = make("slot", { name: "button" }, "Search by picture");
    const input = make("input", { type: "file", accept: "image/*", id: "file" });
    root.append(
      make("form", {}, input, make("label", { htmlFor: "file" }, button)),
      make("p", { role: "status" }), make("ul", { part: "results" }));
    input.addEventListener("change", () => { this.#take(input.files?.[0]); input.value = ""; });
    this.addEventListener("dragover", (event) => { event.preventDefault(); this.toggleAttribute("over", true); });
    this.addEventListener("dragleave", () => this.toggleAttribute("over", false));
    this.addEventListener("drop", (event) => {
      event.preventDefault();
      this.toggleAttribute("over", false);
      this.#take(event.dataTransfer?.files[0]);
    });
  }

  connectedCallback() {
    this.#part("form").hidden = this.hasAttribute("similar-to");
    if (this.hasAttribute("similar-to")) this.search();
  }

  attributeChangedCallback() {
    if (this.isConnected && (this.#picture || this.hasAttribute("similar-to"))) this.search();
  }

  /** The server's address; the one that this file came from where none is given. */
  get server() {
    return new URL(this.getAttribute("server") ?? OWN_SERVER, document.baseURI);
  }

  /** @param {File | undefined} file */
  #take(file) {
    if (!file) return;
    this.#picture = file;
    this.search();
  }

  /** Search again by what was chosen last. */
  async search() {
    this.#asked?.abort();
    const asked = (this.#asked = new AbortController());
    this.setAttribute("aria-busy", "true");
    try {
      const { hits } = await this.#ask(asked.signal);
      if (this.#asked !== asked) return;
      this.#show(hits);
    } catch (error) {
      if (asked.signal.aborted) return;
      this.#part("ul").replaceChildren();
      this.#say("error", "This did not work. Try another picture, or again in a moment.");
      this.dispatchEvent(new CustomEvent("lookalike-error", { detail: error, bubbles: true, composed: true }));
    } finally {
      if (this.#asked === asked) this.removeAttribute("aria-busy");
    }
  }

  /** @param {AbortSignal} signal @returns {Promise<{hits: Hit[]}>} */
  async #ask(signal) {
    const form = new FormData();
    const similar = this.getAttribute("similar-to");
    form.append("k", this.getAttribute("k") ?? "12");
    form.append("collapse", "duplicates");
    if (this.getAttribute("filter")) form.append("filter", this.getAttribute("filter") ?? "");
    const key = this.getAttribute("key");
    /** @type {RequestInit} */
    const options = { signal, headers: key ? { Authorization: `Bearer ${key}` } : {} };
    if (similar === null) {
      form.append("image", await shrink(/** @type {Blob} */ (this.#picture)), "query");
      return ask(new URL("v1/search", this.server), { ...options, method: "POST", body: form });
    }
    const parameters = new URLSearchParams(/** @type {any} */ ([...form]));
    return ask(new URL(`v1/products/${encodeURIComponent(similar)}/similar?${parameters}`, this.server), options);
  }

  /** @param {Hit[]} hits */
  #show(hits) {
    this.#part("ul").replaceChildren(...hits.map((hit) => this.#card(hit)));
    if (hits.length) this.#part("p").replaceChildren();
    else this.#say("empty", "Nothing looks like this.");
    this.dispatchEvent(new CustomEvent("lookalike-results", { detail: hits, bubbles: true, composed: true }));
  }

  /** @param {Hit} hit */
  #card(hit) {
    const { price, currency, link } = hit.attributes ?? {};
    const image = make("img", { alt: "", loading: "lazy", src: sized(new URL(hit.image_url, this.server)) });
    const card = make("a", { href: /^https?:\/\//.test(link ?? "") ? link : "#", part: "card" },
      make("span", { className: "frame" }, image), make("span", { className: "title" }, hit.title || hit.id));
    if (typeof price === "number") card.append(make("span", { className: "price" }, sayPrice(price, currency)));
    card.addEventListener("click", (event) => {
      const chosen = new CustomEvent("lookalike-select", { detail: hit, bubbles: true, composed: true, cancelable: true });
      if (!this.dispatchEvent(chosen) || card.getAttribute("href") === "#") event.preventDefault();
    });
    return make("li", {}, card);
  }

  /** @param {string} slot @param {string} words */
  #say(slot, words) {
    this.#part("p").replaceChildren(make("slot", { name: slot }, words));
  }

  /** @param {string} selector */
  #part(selector) {
    return /** @type {HTMLElement} */ (this.shadowRoot?.querySelector(selector));
  }
}

/**
 * @param {URL} address
 * @param {RequestInit} options
 * @returns {Promise<any>}
 */
async function ask(address, options) {
  const response = await fetch(address, options);
  if (response.status === 429) { // the server is busy, or this page asks too often: once more
    await new Promise((done) => setTimeout(done, Math.max(WAIT, 1000 * Number(response.headers.get("Retry-After")))));
    return ask(address, options);
  }
  const body = await response.json();
  if (!response.ok) throw Object.assign(new Error(body.detail), { code: body.code });
  return body;
}

/** @param {Blob} file @returns {Promise<Blob>} */
async function shrink(file) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  const scale = bitmap ? MAX_SIDE / Math.max(bitmap.width, bitmap.height) : 1;
  if (!bitmap || scale >= 1) return file;
  const canvas = make("canvas", { width: Math.round(bitmap.width * scale), height: Math.round(bitmap.height * scale) });
  canvas.getContext("2d", { alpha: false })?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob((copy) => done(copy ?? file), "image/jpeg", 0.85));
}

/** @param {number} price @param {any} currency */
function sayPrice(price, currency) {
  try {
    return price.toLocaleString(document.documentElement.lang || undefined, { style: "currency", currency });
  } catch {
    return price.toLocaleString();
  }
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} properties
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "role" || name === "part") element.setAttribute(name, value);
    else /** @type {any} */ (element)[name] = value;
  }
  element.append(...children);
  return element;
}

customElements.define("lookalike-search", LookalikeSearch);
