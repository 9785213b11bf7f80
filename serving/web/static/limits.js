// Limits: the most that this server takes of one request, and whether it has words to suggest, as it wrote them into the page.

/** @typedef {{k: number, offset: number, examples: number, queries: number, facets: number, words: boolean}} Limits */

const meta = /** @type {HTMLMetaElement | null} */ (document.querySelector('meta[name="limits"]'));

/** @type {Limits} */
export const LIMITS = { k: 1000, offset: 10_000, examples: 16, queries: 32, facets: 8, words: true, ...read(meta?.content) };

/** @param {string | undefined} text @returns {Partial<Limits>} */
function read(text) {
  try {
    return JSON.parse(text ?? "{}");
  } catch {
    return {}; // a page that no server has filled in
  }
}
