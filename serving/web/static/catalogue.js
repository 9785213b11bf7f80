// The health of the catalogue: what the last run left out and why, and how answers look before and after it.

import { ask, get, ROOT } from "./api.js";
import { $, $image, make } from "./dom.js";

/**
 * @typedef {{run: string, rejected: number, contact_sheet: boolean}} Run
 * @typedef {{id: string, reference: string, stage: string, reason: string, message: string}} Reject
 * @typedef {{run: string, total: number, reasons: Record<string, number>, rejects: Reject[]}} Rejects
 */

const count = new Intl.NumberFormat("en");

let shown = "";
let reason = "";

/**
 * Show both, and read them again only where there is another run.
 *
 * @param {string} channel
 * @param {Run[]} runs newest first
 */
export async function showHealth(channel, runs) {
  const newest = `${channel} ${runs[0]?.run ?? ""}`;
  if (newest === shown) return;
  shown = newest;
  reason = "";
  await Promise.all([showRejects(channel, runs[0]), showSheet(runs.find((run) => run.contact_sheet))]);
}

/** @param {string} channel @param {Run | undefined} run */
async function showRejects(channel, run) {
  $("left").hidden = !run?.rejected;
  if (!run?.rejected) return;
  const parameters = new URLSearchParams({ channel, reason });
  /** @type {Rejects} */
  const found = await get(new URL(`admin/rejects?${parameters}`, ROOT));
  const reasons = Object.entries(found.reasons).sort(([, one], [, other]) => other - one);
  const all = /** @type {[string, number]} */ (["", found.total]);
  $("reasons").replaceChildren(...[all, ...reasons].map(([name, number]) => choice(channel, run, name, number)));
  const head = ["Product", "Reason", "What to know", "Picture"].map((name) => make("th", { scope: "col" }, name));
  $("rejects").replaceChildren(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...found.rejects.map(row)));
}

/** @param {string} channel @param {Run} run @param {string} name @param {number} number */
function choice(channel, run, name, number) {
  const words = `${name || "all"} ${count.format(number)}`;
  const made = make("button", { type: "button", className: "chip", "aria-pressed": String(name === reason) }, words);
  made.addEventListener("click", () => {
    reason = name;
    showRejects(channel, run);
  });
  return made;
}

/** @param {Reject} reject */
const row = (reject) =>
  make(
    "tr",
    {},
    make("td", { className: "whole" }, reject.id || "(no id)"),
    make("td", {}, reject.reason),
    make("td", { className: "wide" }, reject.message),
    make("td", { className: "wide" }, reject.reference),
  );

/** @param {Run | undefined} run */
async function showSheet(run) {
  $("sheet").hidden = true;
  if (!run) return;
  const reply = await ask(new URL(`admin/runs/${encodeURIComponent(run.run)}/contact-sheet`, ROOT)).catch(() => null);
  if (!reply) return; // it went with its snapshot
  const image = $image("sheet-picture");
  if (image.src) URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(await reply.blob());
  $("sheet").hidden = false;
}
