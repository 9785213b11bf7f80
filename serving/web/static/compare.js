// Side by side: one query, two snapshots, and what moved between them.

import { post, showPicture } from "./api.js";
import { $, $input, make } from "./dom.js";
import { LIMITS } from "./limits.js";

/**
 * @typedef {import("./api.js").Product} Product
 * @typedef {{snapshot: string, created_at: string, products: number, encoder: string, quality: Record<string, number>}} Opened
 * @typedef {{opened: Opened, hits: Product[]}} Side
 */

const HITS = Math.min(12, LIMITS.k);
const SIZE = 128;
const count = new Intl.NumberFormat("en");

/** @type {File | null} */
let picture = null;

/** @param {string[]} names newest first */
export function offer(names, /** @type {string | null} */ served) {
  for (const [id, fallback] of /** @type {Array<[string, string | undefined]>} */ ([["compare-before", names.find((name) => name !== served)], ["compare-after", served ?? names[0]]])) {
    const select = /** @type {HTMLSelectElement} */ ($(id));
    const chosen = select.value || fallback || "";
    select.replaceChildren(...names.map((name) => make("option", { value: name, selected: name === chosen }, name)));
  }
}

async function compare() {
  const trouble = $("compare-trouble");
  trouble.hidden = true;
  $("compare-do").setAttribute("aria-busy", "true");
  try {
    const before = await readSide("compare-before");
    const after = await readSide("compare-after");
    $("sides").replaceChildren(side(before, after, "gone"), side(after, before, "new"));
  } catch (error) {
    trouble.textContent = /** @type {Error} */ (error).message;
    trouble.hidden = false;
  }
  $("compare-do").removeAttribute("aria-busy");
}

/** @param {string} id @returns {Promise<Side>} */
async function readSide(id) {
  const snapshot = /** @type {HTMLSelectElement} */ ($(id)).value;
  /** @type {Opened} */
  const opened = await post("admin/open", { snapshot });
  if (!picture) {
    const found = await post("search", { product_id: $input("compare-product").value.trim(), k: HITS, snapshot });
    return { opened, hits: found.hits };
  }
  const form = new FormData();
  form.append("image", picture);
  form.append("k", String(HITS));
  form.append("snapshot", snapshot);
  return { opened, hits: (await post("search", form)).hits };
}

/** @param {Side} shown @param {Side} other @param {string} missing what a hit is that the other side lacks */
function side(shown, other, missing) {
  const { opened } = shown;
  const recall = "recall_at_10" in opened.quality ? `, recall@10 ${opened.quality.recall_at_10.toFixed(3)}` : "";
  const places = new Map(other.hits.map((hit, place) => [hit.id, place]));
  return make(
    "div",
    { className: "side" },
    make("h3", { className: "id" }, opened.snapshot),
    make("p", { className: "aside" }, `${count.format(opened.products)} products, ${opened.encoder}${recall}`),
    make("ol", { className: "hits" }, ...shown.hits.map((hit, place) => row(hit, place, other, places.get(hit.id), missing))),
  );
}

/** @param {Product} hit @param {number} place @param {Side} other @param {number | undefined} elsewhere @param {string} missing */
function row(hit, place, other, elsewhere, missing) {
  const image = make("img", { alt: "", width: 48, height: 48, loading: "lazy" });
  image.addEventListener("error", () => image.removeAttribute("src"), { once: true });
  showPicture(image, hit.image_url, [SIZE]);
  const moved = elsewhere === undefined ? missing : missing === "new" ? describeMove(elsewhere - place) : "";
  return make(
    "li",
    { className: elsewhere === undefined ? missing : "" },
    image,
    make("span", { className: "hit" }, hit.title || hit.id, make("span", { className: "aside" }, why(hit, elsewhere === undefined ? undefined : other.hits[elsewhere]))),
    make("span", { className: "moved" }, moved),
    make("span", { className: "number" }, (hit.score ?? 0).toFixed(3)),
  );
}

/** @param {number} by */
const describeMove = (by) => (by === 0 ? "" : by > 0 ? `▲ ${by}` : `▼ ${-by}`);

/** Name the attributes that are not the same on both sides. @param {Product} hit @param {Product | undefined} same */
function why(hit, same) {
  if (!same) return "";
  const names = Object.keys({ ...hit.attributes, ...same.attributes });
  const changed = names.filter((name) => JSON.stringify(hit.attributes[name]) !== JSON.stringify(same.attributes[name]));
  if (hit.title !== same.title) changed.unshift("title");
  return changed.length ? ` ${changed.join(", ")}: another` : "";
}

$("compare-form").addEventListener("submit", (event) => {
  event.preventDefault();
  compare();
});
$("compare-picture").addEventListener("change", () => {
  picture = $input("compare-picture").files?.[0] ?? null;
  $("compare-picture-name").textContent = picture ? picture.name : "or a picture …";
});
$("compare-product").addEventListener("input", () => {
  picture = null;
  $input("compare-picture").value = "";
  $("compare-picture-name").textContent = "or a picture …";
});
