// The server: every request of the page, the key, and what its problems are called.

/**
 * @typedef {{id: string, title: string, attributes: Record<string, any>, image_url: string, score?: number,
 *   view?: number, pictures?: number, hidden?: number, why?: {scores: Record<string, number>, words: Match[]}}} Product
 * @typedef {{word: string, found: string, how: "word" | "beginning" | "spelling"}} Match
 * @typedef {{words: Match[], unknown: string[], looks_like?: {id: string, title: string, weight: number}[], colours?: string[]}} Understood
 * @typedef {{values: Record<string, number>, others: number, missing: number, min?: any, max?: any}} Facet
 * @typedef {{snapshot: string, took_ms: number, total: number, hits: Product[], facets?: Record<string, Facet>, understood?: Understood}} SearchReply
 * @typedef {{snapshot: string, total: number, products: Product[], facets?: Record<string, Facet>}} ListReply
 * @typedef {{text: string, word: string, products: number}} Suggestion
 * @typedef {{id: string, products: number, attribution: string,
 *   attributes: Record<string, {type: string, values: Record<string, number> | null}>}} Snapshot
 */

export const ROOT = new URL("v1/", document.baseURI); // a proxy may serve this below a path

export class Problem extends Error {
  /**
   * @param {string} code
   * @param {string} detail
   * @param {{request?: string, retryAfter?: number}} [more]
   */
  constructor(code, detail, { request = "", retryAfter = 0 } = {}) {
    super(detail);
    this.code = code;
    this.request = request;
    this.retryAfter = retryAfter;
  }
}

// The key stays in this tab: it is gone when the tab is, and it is only ever sent to the server that sent this page.
export const key = () => sessionStorage.getItem("key") || "";
/** @param {string} given */
export const setKey = (given) => sessionStorage.setItem("key", given);
export const forgetKey = () => sessionStorage.removeItem("key");
/** @param {Record<string, string>} [headers] */
const withKey = (headers = {}) => (key() ? { ...headers, Authorization: `Bearer ${key()}` } : headers);

/**
 * @param {string | URL} path
 * @param {{method?: string, body?: BodyInit, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<Response>}
 */
export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: withKey(options.headers) });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem("unreachable", "The server cannot be reached.");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Problem(problem.code || `http_${response.status}`, problem.detail || "", {
    request: problem.request_id,
    retryAfter: Number(response.headers.get("Retry-After")) || 0,
  });
}

/**
 * @param {string | URL} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export const get = async (path, signal) => (await ask(path, { signal })).json();

/**
 * @param {string} path
 * @param {FormData | object} content
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function post(path, content, signal) {
  const isForm = content instanceof FormData;
  const body = isForm ? content : JSON.stringify(content);
  /** @type {Record<string, string>} A form names its type itself. */
  const headers = isForm ? {} : { "Content-Type": "application/json" };
  return (await ask(new URL(path, ROOT), { method: "POST", body, headers, signal })).json();
}

/** @param {string} id @param {AbortSignal} [signal] @returns {Promise<Product>} */
export function getProduct(id, signal) {
  const encoded = encodeURIComponent(id);
  const path = /^\.{1,2}$/.test(id) ? `products/_?id=${encoded}` : `products/${encoded}`;
  return get(new URL(path, ROOT), signal);
}

/** @param {Array<[string, string]>} parameters @param {AbortSignal} [signal] @returns {Promise<ListReply>} */
export function listProducts(parameters, signal) {
  return get(new URL(`products?${new URLSearchParams(parameters)}`, ROOT), signal);
}

/** @param {string} text @param {string[]} conditions @param {AbortSignal} signal @returns {Promise<Suggestion[]>} */
export async function getSuggestions(text, conditions, signal) {
  const parameters = new URLSearchParams([["text", text], ...conditions.map((one) => ["filter", one])]);
  return (await get(new URL(`suggest?${parameters}`, ROOT), signal)).suggestions;
}

/** @returns {Promise<Snapshot>} */
export const getSnapshot = () => get(new URL("snapshots/current", ROOT));

/** @param {string} address */
const isOurs = (address) => Boolean(address) && new URL(address, document.baseURI).href.startsWith(ROOT.href);

/** @param {string} address of any picture of a product @param {number} view */
export function addressOfView(address, view) {
  const first = address.replace(/[?&]view=\d+$/, "");
  return view === 1 ? first : `${first}${first.includes("?") ? "&" : "?"}view=${view}`;
}

/** @param {string} address @param {number} size */
const sized = (address, size) => `${address}${address.includes("?") ? "&" : "?"}size=${size}`;

/** @param {string} address @param {number} size @returns {Promise<Blob>} */
export async function getPicture(address, size) {
  return (await ask(sized(address, size))).blob();
}

/**
 * Show a product's picture. An address takes no header: where there is a key, the page fetches the picture itself.
 *
 * @param {HTMLImageElement} image
 * @param {string} address
 * @param {number[]} sizes of copies that the browser may choose from, the smallest first
 */
export async function showPicture(image, address, sizes) {
  if (!isOurs(address)) return void image.dispatchEvent(new Event("error"));
  const largest = sizes[sizes.length - 1];
  image.dataset.address = address;
  if (!key()) {
    image.srcset = sizes.length > 1 ? sizes.map((size) => `${sized(address, size)} ${size}w`).join(", ") : "";
    image.src = sized(address, largest);
    return;
  }
  try {
    const picture = URL.createObjectURL(await getPicture(address, largest));
    const free = () => URL.revokeObjectURL(picture);
    image.addEventListener("load", free, { once: true });
    image.addEventListener("error", free, { once: true });
    if (image.dataset.address === address) image.src = picture;
    else free();
  } catch {
    if (image.dataset.address === address) image.dispatchEvent(new Event("error"));
  }
}
