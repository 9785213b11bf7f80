// The console: channels, snapshots and runs of the store, and what moves them. All of it takes the scope `admin`.

import { ask, forgetKey, get, key, Problem, ROOT, setKey } from "./api.js";
import { showHealth } from "./catalogue.js";
import { draw } from "./charts.js";
import { offer } from "./compare.js";
import { $, $dialog, $input, announce, make } from "./dom.js";
import { offerKinds, prepareHealth } from "./health.js";

/**
 * @typedef {{channel: string, number: number, snapshot: string, moved_at: string, moved_by: string, reason: string,
 *   restores: number | null, held: boolean}} Entry
 * @typedef {{run: string, kind: string, state: string, message: string, started_at: string, seconds: number,
 *   snapshot: string | null, products: number, added: number, changed_pictures: number, changed_text: number,
 *   removed: number, rejected: number, recall_at_10: number | null, bytes: number | null, contact_sheet: boolean}} Run
 * @typedef {{snapshot: string, channels: string[], pinned: boolean, problem: string, created_at: string | null,
 *   parent: string | null, encoder: string, products: number | null, bytes: number | null,
 *   quality: Record<string, number>, refused: string[], run: Run | null}} Line
 * @typedef {{follows: string, serves: string | null, may_move: boolean, past_snapshots: number, channels: Entry[]}} Board
 * @typedef {{title: string, what: string, doing: string, path: string, body: Record<string, any>, hold?: boolean,
 *   force?: boolean}} Act
 */

const EVERY_SECONDS = 10;
const count = new Intl.NumberFormat("en");
const moment = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" });

let chosen = new URLSearchParams(location.search).get("channel") || "";

/** @param {string} when */
const time = (when) => `${moment.format(new Date(when))} UTC`;

/** @param {number} bytes */
function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let power = 0;
  while (bytes >= 1000 && power < units.length - 1) {
    bytes /= 1000;
    power += 1;
  }
  return `${bytes < 10 && power ? bytes.toFixed(1) : Math.round(bytes)} ${units[power]}`;
}

/** @param {number} seconds */
function duration(seconds) {
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** @param {string} words @param {string} [kind] */
const tag = (words, kind = "") => make("span", { className: `tag ${kind}` }, words);

/** @param {string} path @returns {Promise<any>} */
const read = (path) => get(new URL(`admin/${path}`, ROOT));

async function refresh() {
  try {
    /** @type {Board} */
    const board = await read("channels");
    if (!board.channels.some((entry) => entry.channel === chosen)) chosen = board.follows;
    const known = board.channels.some((entry) => entry.channel === chosen);
    const at = encodeURIComponent(chosen);
    const [snapshots, runs, history] = await Promise.all([
      read(`snapshots?channel=${at}`),
      read(`runs?channel=${at}`),
      known ? read(`channels/${at}`) : { entries: [] },
    ]);
    showAll(board, snapshots.snapshots, runs.runs, history.entries);
  } catch (error) {
    showTrouble(/** @type {Error} */ (error));
  }
}

/** @param {Board} board @param {Line[]} lines @param {Run[]} runs @param {Entry[]} entries */
function showAll(board, lines, runs, entries) {
  $("key-form").hidden = true;
  $("trouble").hidden = true;
  $("board").hidden = false;
  $("forget").hidden = !key();
  $("serving").textContent = board.serves ? `This server serves ${board.serves}` : "This server serves nothing yet";
  showChannels(board);
  $("charts").replaceChildren(...draw(runs, { count: (value) => count.format(value), duration, size }));
  showSnapshots(board, lines);
  showHealth(chosen, runs);
  offerKinds(board.serves).catch(() => {});
  $("compare").hidden = !board.past_snapshots;
  offer(lines.filter((line) => !line.problem).map((line) => line.snapshot), board.serves);
  $("history").replaceChildren(...entries.map(describeMove));
}

/** @param {Error} error */
function showTrouble(error) {
  const code = error instanceof Problem ? error.code : "";
  if (code === "unauthorized" || code === "forbidden") {
    if (key()) $("key-why").textContent = error.message;
    forgetKey();
    $("board").hidden = true;
    $("forget").hidden = true;
    $("key-form").hidden = false;
    return;
  }
  $("trouble").textContent = error.message;
  $("trouble").hidden = false;
}

/** @param {Board} board */
function showChannels(board) {
  const cards = board.channels.map((entry) => {
    const name = make("span", { className: "channel-name" }, entry.channel);
    if (entry.channel === board.follows) name.append(tag("served here", "good"));
    if (entry.held) name.append(tag("held", "bad"));
    const card = make(
      "button",
      { type: "button", className: "channel", "aria-pressed": String(entry.channel === chosen) },
      name,
      make("span", { className: "id" }, entry.snapshot),
      make("span", { className: "channel-why" }, `${entry.reason}, ${entry.moved_by}, ${time(entry.moved_at)}`),
    );
    card.addEventListener("click", () => choose(entry.channel));
    return card;
  });
  $("channels").replaceChildren(...(cards.length ? cards : [make("p", {}, "Nothing has been published yet.")]));
}

/** @param {string} channel */
function choose(channel) {
  chosen = channel;
  history.replaceState(null, "", `?channel=${encodeURIComponent(channel)}`);
  refresh();
}

const COLUMNS = ["Snapshot", "Changes", "Products", "Recall@10", "Encoder", "Size", "Run", "Moves"];
const NUMBERS = new Set(["Products", "Recall@10", "Size", "Run"]);

/** @param {Board} board @param {Line[]} lines */
function showSnapshots(board, lines) {
  const head = COLUMNS.map((name) => make("th", { scope: "col", className: NUMBERS.has(name) ? "number" : "" }, name));
  const rows = lines.flatMap((line) => describeLine(board, line));
  $("snapshots").replaceChildren(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}

/** @param {Board} board @param {Line} line @returns {HTMLElement[]} */
function describeLine(board, line) {
  const reasons = line.problem ? [line.problem] : line.refused;
  const row = make(
    "tr",
    { className: reasons.length ? "has-reasons" : "" },
    make("td", { className: "whole" }, make("div", { className: "name" }, ...nameOf(board, line))),
    make("td", { className: "whole" }, changes(line.run)),
    number("Products", line.products === null ? "" : count.format(line.products)),
    number("Recall@10", "recall_at_10" in line.quality ? line.quality.recall_at_10.toFixed(3) : ""),
    make("td", { "data-label": "Encoder" }, line.encoder),
    number("Size", line.bytes === null ? "" : size(line.bytes)),
    number("Run", line.run ? duration(line.run.seconds) : ""),
    make("td", { className: "doing" }, ...(board.may_move ? actions(board, line) : [])),
  );
  if (!reasons.length) return [row];
  return [row, make("tr", { className: "of-reasons" }, make("td", { className: "reasons", colSpan: COLUMNS.length }, reasons.join("; ")))];
}

/** @param {string} label @param {string} text */
const number = (label, text) => make("td", { className: "number", "data-label": label }, text);

/** @param {Line} line */
const whenMade = (line) => make("span", { className: "aside" }, line.created_at ? time(line.created_at) : "");

/** @param {Board} board @param {Line} line */
const nameOf = (board, line) => [make("span", { className: "id" }, line.snapshot), whenMade(line), ...tags(board, line)];

/** @param {Board} board @param {Line} line */
function tags(board, line) {
  const found = line.channels.map((channel) => tag(channel, channel === board.follows ? "good" : "mark"));
  if (line.problem) found.push(tag("damaged", "bad"));
  else if (line.refused.length) found.push(tag("refused", "bad"));
  if (line.pinned) found.push(tag("pinned"));
  return found;
}

/** @param {Run | null} run */
function changes(run) {
  if (!run) return "";
  const changed = run.changed_pictures + run.changed_text;
  return make(
    "span",
    { className: "changes", title: run.message },
    ...(run.added ? [make("span", { className: "came" }, `+${count.format(run.added)}`)] : []),
    ...(changed ? [make("span", {}, `~${count.format(changed)}`)] : []),
    ...(run.removed ? [make("span", { className: "went" }, `−${count.format(run.removed)}`)] : []),
    ...(run.rejected ? [make("span", { className: "aside" }, `${count.format(run.rejected)} rejected`)] : []),
  );
}

/** @param {Board} board @param {Line} line */
function actions(board, line) {
  const entry = board.channels.find((found) => found.channel === chosen);
  const at = encodeURIComponent(chosen);
  const found = [];
  if (entry?.snapshot === line.snapshot) {
    if (entry.held) found.push(action("Let runs go on", release(line)));
    found.push(
      action("Roll back", {
        title: `Roll back ${chosen}`,
        what: "The channel goes to the snapshot before this one. Servers follow within seconds.",
        doing: "Roll back",
        path: `channels/${at}/rollback`,
        body: {},
        hold: true,
      }),
    );
  } else if (!line.problem) {
    const older = entry !== undefined && line.snapshot < entry.snapshot;
    found.push(
      action("Promote", {
        title: `Promote ${line.snapshot}`,
        what: `Channel ${chosen} points at it from then on. Servers follow within seconds.`,
        doing: "Promote",
        path: `channels/${at}/promote`,
        body: { snapshot: line.snapshot },
        hold: older ? true : undefined,
        force: line.refused.length ? true : undefined,
      }),
    );
  }
  const pin = make("button", { type: "button", className: "plain" }, line.pinned ? "Unpin" : "Pin");
  pin.addEventListener("click", () => change(line.pinned ? "DELETE" : "PUT", `pins/${line.snapshot}`, { note: "in the console" }));
  return [...found, pin];
}

/** @param {Line} line @returns {Act} */
const release = (line) => ({
  title: `Let runs publish to ${chosen}`,
  what: "The next run publishes what it finds in the catalogue.",
  doing: "Let them go on",
  path: `channels/${encodeURIComponent(chosen)}/promote`,
  body: { snapshot: line.snapshot, hold: false, force: true },
});

/** @param {string} words @param {Act} act */
function action(words, act) {
  const element = make("button", { type: "button", className: "plain" }, words);
  element.addEventListener("click", () => open(act));
  return element;
}

/** @type {Act | null} */
let pending = null;

/** @param {Act} act */
function open(act) {
  pending = act;
  $("act-title").textContent = act.title;
  $("act-what").textContent = act.what;
  $("act-do").textContent = act.doing;
  $("act-hold-room").hidden = act.hold === undefined;
  $input("act-hold").checked = act.hold ?? false;
  $("act-force-room").hidden = act.force === undefined;
  $input("act-force").checked = false;
  $input("act-reason").value = "";
  $("act-trouble").hidden = true;
  $dialog("act").showModal();
  $("act-reason").focus();
}

/** @param {SubmitEvent} event */
async function submit(event) {
  event.preventDefault();
  if (!pending) return;
  const { path, body, hold, force } = pending;
  /** @type {Record<string, any>} */
  const asked = { ...body, reason: $input("act-reason").value.trim() };
  if (hold !== undefined) asked.hold = $input("act-hold").checked;
  if (force !== undefined) asked.force = $input("act-force").checked;
  try {
    await send("POST", path, asked);
  } catch (error) {
    $("act-trouble").textContent = /** @type {Error} */ (error).message;
    $("act-trouble").hidden = false;
    return;
  }
  $dialog("act").close();
  announce("Done");
  refresh();
}

/** @param {string} method @param {string} path @param {object} content */
const send = (method, path, content) =>
  ask(new URL(`admin/${path}`, ROOT), {
    method,
    body: JSON.stringify(content),
    headers: { "Content-Type": "application/json" },
  });

/** @param {string} method @param {string} path @param {object} content */
async function change(method, path, content) {
  try {
    await send(method, path, content);
  } catch (error) {
    showTrouble(/** @type {Error} */ (error));
    return;
  }
  refresh();
}

/** @param {Entry} entry */
function describeMove(entry) {
  const back = entry.restores ? `, back to entry ${entry.restores}` : "";
  const held = entry.held ? ", held" : "";
  return make(
    "li",
    {},
    make("p", {}, entry.reason),
    make("p", { className: "aside" }, `${entry.snapshot}${back}${held}, ${entry.moved_by}, ${time(entry.moved_at)}`),
  );
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey($input("key-text").value.trim());
  $input("key-text").value = "";
  refresh();
});
$("forget").addEventListener("click", () => {
  forgetKey();
  location.reload();
});
prepareHealth();
$("act-form").addEventListener("submit", submit);
$("act-cancel").addEventListener("click", () => $dialog("act").close());
setInterval(() => {
  if (!document.hidden && !$("board").hidden) refresh();
}, EVERY_SECONDS * 1000);
refresh();
