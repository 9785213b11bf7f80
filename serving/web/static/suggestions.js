// Suggestions: what somebody who is typing may be about to write, in a list below the box. It is a combobox as WAI-ARIA has
// it: the focus stays in the box, and arrow keys choose. The words are a catalogue's, and only ever text.

import { Problem, getSuggestions } from "./api.js";
import { announce, hasTouch, make } from "./dom.js";
import { findAddress } from "./incoming.js";
import { LIMITS } from "./limits.js";
import { counted } from "./words.js";

/** @typedef {import("./api.js").Suggestion} Suggestion */

const PAUSE = 120; // milliseconds without a letter, before the server is asked
const MOST_LETTERS = 512;
const WORD = /[\p{L}\p{N}]/u;

/** Until when the server is left alone: it has refused, and suggestions are worth no wait. */
let quietUntil = LIMITS.words ? 0 : Infinity;

/**
 * @param {HTMLInputElement} box of a form, which is submitted when a suggestion is chosen
 * @param {() => string[]} conditions that products must satisfy to count
 */
export function offerSuggestions(box, conditions) {
  const list = make("ul", { id: `${box.id}-list`, className: "suggestions", role: "listbox", "aria-label": "Suggestions", hidden: true });
  /** @type {Suggestion[]} */
  let offered = [];
  let active = -1; // none: the box itself
  let pause = 0;
  let asked = new AbortController();

  function close() {
    clearTimeout(pause);
    asked.abort();
    list.hidden = true;
    box.setAttribute("aria-expanded", "false");
    activate(-1);
  }

  /** @param {number} at */
  function activate(at) {
    active = at;
    [...list.children].forEach((option, place) => option.setAttribute("aria-selected", String(place === at)));
    if (at < 0) return box.removeAttribute("aria-activedescendant");
    box.setAttribute("aria-activedescendant", list.children[at].id);
    list.children[at].scrollIntoView({ block: "nearest" });
  }

  /** @param {number} at */
  function choose(at) {
    box.value = offered[at].text;
    close();
    if (hasTouch) box.blur(); // the keyboard would cover what is found
    box.form?.requestSubmit();
  }

  async function look() {
    clearTimeout(pause);
    asked.abort();
    asked = new AbortController();
    const { signal } = asked;
    const text = box.value;
    const isWorth = WORD.test(text) && text.length <= MOST_LETTERS && !findAddress(text) && Date.now() >= quietUntil;
    if (!isWorth) return close();
    try {
      const found = await getSuggestions(text, conditions(), signal);
      if (!signal.aborted && document.activeElement === box) show(found.filter((one) => one.text !== text), text);
    } catch (error) {
      if (signal.aborted) return;
      quietUntil = Date.now() + findWait(error);
      close();
    }
  }

  /** @param {Suggestion[]} found @param {string} text */
  function show(found, text) {
    if (!found.length) return close();
    if (list.hidden) announce(counted(found.length, "suggestion", "suggestions"));
    offered = found;
    list.replaceChildren(...found.map((one, at) => makeOption(one, text, `${list.id}-${at}`)));
    list.hidden = false;
    box.setAttribute("aria-expanded", "true");
    activate(-1);
  }

  /** @param {KeyboardEvent} event */
  function press(event) {
    if (event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      const stops = offered.length + 1; // the box is one of them
      if (!list.hidden) activate(((active + 1 + step + stops) % stops) - 1);
      else if (step > 0) look();
    } else if (event.key === "Enter" && active >= 0) {
      event.preventDefault();
      choose(active);
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault(); // else it would clear the box
      close();
    }
  }

  for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id })) {
    box.setAttribute(name, value);
  }
  box.after(list);
  box.addEventListener("input", () => {
    activate(-1);
    clearTimeout(pause);
    asked.abort(); // an answer to what was typed before would close the list, and nobody would ask for this
    pause = window.setTimeout(look, PAUSE);
  });
  box.addEventListener("keydown", press);
  box.addEventListener("blur", close);
  box.form?.addEventListener("submit", close);
  window.addEventListener("popstate", close);
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // the focus stays in the box
  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", ({ target }) => {
    const option = target instanceof Element ? target.closest("li") : null;
    if (option) choose([...list.children].indexOf(option));
  });
}

/** @param {Suggestion} suggestion @param {string} typed @param {string} id */
function makeOption({ text, word, products }, typed, id) {
  const isContinued = text.slice(0, typed.length).toLowerCase() === typed.toLowerCase();
  const known = isContinued ? typed.length : text.length - word.length;
  const words = make("span", { className: "suggested" }, text.slice(0, known), make("b", {}, text.slice(known)));
  const count = make("span", { className: "suggested-count" }, counted(products, "product", "products"));
  return make("li", { id, role: "option", "aria-selected": "false" }, words, " ", count);
}

/** @param {unknown} error Return for how many milliseconds nothing is asked: without words in its snapshot, for as long as the page is open. */
function findWait(error) {
  if (!(error instanceof Problem)) return 0;
  return error.code === "no_text_channel" ? Infinity : 1000 * (error.retryAfter || 5);
}
