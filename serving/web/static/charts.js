// Charts of the last runs: a line for each figure, the newest run at the right.

import { make } from "./dom.js";

/**
 * @typedef {{state: string, seconds: number, products: number, recall_at_10: number | null, bytes: number | null}} Run
 * @typedef {{count: (value: number) => string, duration: (value: number) => string, size: (value: number) => string}} Formats
 */

const WIDTH = 300;
const HEIGHT = 64;

/**
 * @param {Run[]} runs newest first
 * @param {Formats} formats
 * @returns {HTMLElement[]}
 */
export function draw(runs, formats) {
  const did = runs.filter((run) => run.state !== "failed" && run.state !== "cancelled").reverse();
  /** @type {Array<[string, (run: Run) => number | null, (value: number) => string]>} */
  const figures = [
    ["Products", (run) => run.products, formats.count],
    ["Recall@10", (run) => run.recall_at_10, (value) => value.toFixed(3)],
    ["Time of a run", (run) => run.seconds, formats.duration],
    ["Size of a snapshot", (run) => run.bytes, formats.size],
  ];
  if (!did.length) return [make("p", {}, "No run of this channel has a report.")];
  return figures.flatMap(([title, read, write]) => {
    const values = did.map(read).filter((value) => value !== null);
    return values.length ? [chart(title, values, write)] : [];
  });
}

/** @param {string} title @param {number[]} values @param {(value: number) => string} write */
function chart(title, values, write) {
  const least = Math.min(...values);
  const most = Math.max(...values);
  const newest = values[values.length - 1];
  return make(
    "figure",
    { className: "chart" },
    make("h3", {}, title),
    make("p", { className: "chart-now" }, write(newest)),
    line(`${title}: ${values.length} runs, ${write(least)} to ${write(most)}`, values, least, most),
    make("p", { className: "chart-range" }, make("span", {}, `least ${write(least)}`), make("span", {}, `most ${write(most)}`)),
  );
}

/** @param {string} says @param {number[]} values @param {number} least @param {number} most */
function line(says, values, least, most) {
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": says });
  const step = WIDTH / Math.max(1, values.length - 1);
  const height = (/** @type {number} */ value) => (most === least ? HEIGHT / 2 : HEIGHT - 3 - ((HEIGHT - 6) * (value - least)) / (most - least));
  const points = values.length > 1 ? values : [values[0], values[0]];
  const places = points.map((value, place) => `${(place * (values.length > 1 ? step : WIDTH)).toFixed(1)},${height(value).toFixed(1)}`);
  svg.append(element("line", { x1: "0", x2: String(WIDTH), y1: String(HEIGHT), y2: String(HEIGHT) }));
  svg.append(element("polyline", { points: places.join(" ") }));
  return svg;
}

/** @param {string} name @param {Record<string, string>} attributes */
function element(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
