// The crop box: the part of a picture that counts. It is moved by mouse, finger and keyboard.

import { make } from "./dom.js";

/** @typedef {import("./place.js").Crop} Crop */

/** @type {Crop} */
const WHOLE = [0, 0, 1, 1];
const LEAST = 0.06;
const STEP = 0.02;
const PAUSE = 250;
const EDGES = { left: 0, top: 1, right: 2, bottom: 3 };
const CORNERS = /** @type {const} */ ([["left", "top"], ["right", "top"], ["left", "bottom"], ["right", "bottom"]]);
const CLASSES = ["nw", "ne", "sw", "se"];
const WORDS = "Arrow keys move it, with Shift further";

/**
 * Put a crop box on an element, which must be as large as its picture is shown.
 *
 * @param {HTMLElement} stage
 * @param {(crop: Crop | null) => void} onChange is called when a change is over
 */
export function makeCropBox(stage, onChange) {
  /** @type {Crop} */
  let crop = [...WHOLE];
  let timer = 0;

  const box = make("div", { className: "crop-box" });
  const body = make("button", { type: "button", className: "crop-body", "aria-label": `The part that counts. ${WORDS}` });
  const handles = CORNERS.map((edges, at) =>
    make("button", { type: "button", className: `crop-corner ${CLASSES[at]}`, "aria-label": `Corner ${edges[1]} ${edges[0]}. ${WORDS}` }));
  box.append(body, ...handles);
  stage.append(box);

  const draw = () => {
    const [left, top, right, bottom] = crop.map((edge) => `${edge * 100}%`);
    Object.assign(box.style, { left, top, width: `calc(${right} - ${left})`, height: `calc(${bottom} - ${top})` });
    box.classList.toggle("is-whole", isWhole(crop));
  };
  const tell = () => { clearTimeout(timer); onChange(isWhole(crop) ? null : crop); };
  const tellSoon = () => { clearTimeout(timer); timer = window.setTimeout(tell, PAUSE); };

  body.addEventListener("keydown", (event) => {
    const move = readArrow(event);
    if (!move) return;
    event.preventDefault();
    crop = shift(crop, ...move);
    draw();
    tellSoon();
  });
  handles.forEach((handle, at) => handle.addEventListener("keydown", (event) => {
    const move = readArrow(event);
    if (!move) return;
    event.preventDefault();
    crop = pull(crop, CORNERS[at], ...move);
    draw();
    tellSoon();
  }));

  stage.addEventListener("pointerdown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.button || !box.offsetParent || !(target instanceof Element) || !stage.contains(target) || target.closest("[data-no-crop]")) return;
    event.preventDefault();
    const from = pointIn(stage, event);
    const before = /** @type {Crop} */ ([...crop]);
    const corner = handles.indexOf(/** @type {HTMLButtonElement} */ (target));
    const isInside = target === body && !isWhole(before);
    let isMoved = false;
    (corner >= 0 || isInside ? target : body).focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    const move = (/** @type {PointerEvent} */ now) => {
      const to = pointIn(stage, now);
      const [x, y] = [to[0] - from[0], to[1] - from[1]];
      isMoved ||= Math.hypot(x * stage.clientWidth, y * stage.clientHeight) > 4;
      if (!isMoved) return;
      if (corner >= 0) crop = pull(before, CORNERS[corner], x, y);
      else crop = isInside ? shift(before, x, y) : between(from, to);
      draw();
    };
    const end = (/** @type {PointerEvent} */ last) => {
      stage.removeEventListener("pointermove", move);
      stage.removeEventListener("pointerup", end);
      stage.removeEventListener("pointercancel", end);
      if (last.type === "pointercancel") { crop = before; draw(); }
      else if (isMoved) tell();
    };
    stage.addEventListener("pointermove", move);
    stage.addEventListener("pointerup", end);
    stage.addEventListener("pointercancel", end);
  });

  return {
    /** @param {Crop | null} given */
    set(given) {
      clearTimeout(timer);
      crop = given ? [...given] : [...WHOLE];
      draw();
    },
  };
}

/** @param {Crop} crop */
const isWhole = (crop) => crop.every((edge, at) => Math.abs(edge - WHOLE[at]) < 0.005);

/** @param {KeyboardEvent} event @returns {[number, number] | null} */
function readArrow({ key, shiftKey }) {
  const step = shiftKey ? STEP * 5 : STEP;
  /** @type {Record<string, [number, number]>} */
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  return moves[key] ?? null;
}

/** @param {number} value @param {number} low @param {number} high */
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** @param {Crop} crop @param {number} x @param {number} y @returns {Crop} */
function shift([left, top, right, bottom], x, y) {
  const byX = clamp(x, -left, 1 - right);
  const byY = clamp(y, -top, 1 - bottom);
  return [left + byX, top + byY, right + byX, bottom + byY];
}

/** @param {Crop} crop @param {readonly ["left" | "right", "top" | "bottom"]} corner @param {number} x @param {number} y */
function pull(crop, [across, down], x, y) {
  const moved = /** @type {Crop} */ ([...crop]);
  if (across === "left") moved[EDGES.left] = clamp(crop[0] + x, 0, crop[2] - LEAST);
  else moved[EDGES.right] = clamp(crop[2] + x, crop[0] + LEAST, 1);
  if (down === "top") moved[EDGES.top] = clamp(crop[1] + y, 0, crop[3] - LEAST);
  else moved[EDGES.bottom] = clamp(crop[3] + y, crop[1] + LEAST, 1);
  return moved;
}

/** @param {[number, number]} from @param {[number, number]} to @returns {Crop} */
function between(from, to) {
  const [left, right] = [from[0], to[0]].sort((a, b) => a - b);
  const [top, bottom] = [from[1], to[1]].sort((a, b) => a - b);
  const [x, y] = [clamp(left, 0, 1 - LEAST), clamp(top, 0, 1 - LEAST)];
  return [x, y, clamp(right, x + LEAST, 1), clamp(bottom, y + LEAST, 1)];
}

/** @param {HTMLElement} stage @param {PointerEvent} event @returns {[number, number]} */
function pointIn(stage, { clientX, clientY }) {
  const { left, top, width, height } = stage.getBoundingClientRect();
  return [clamp((clientX - left) / width, 0, 1), clamp((clientY - top) / height, 0, 1)];
}
