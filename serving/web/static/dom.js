// Building and finding elements. Product text is only ever text: nothing here reads markup.

/** @type {(id: string) => HTMLElement} */
export const $ = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @type {(id: string) => HTMLInputElement} */
export const $input = (id) => /** @type {HTMLInputElement} */ (document.getElementById(id));

/** @type {(id: string) => HTMLImageElement} */
export const $image = (id) => /** @type {HTMLImageElement} */ (document.getElementById(id));

/** @type {(id: string) => HTMLDialogElement} */
export const $dialog = (id) => /** @type {HTMLDialogElement} */ (document.getElementById(id));

/**
 * Return an element with properties and children. A property with a hyphen, or `role`, is an attribute.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, String(value));
    else /** @type {any} */ (element)[name] = value;
  }
  element.append(...children);
  return element;
}

/**
 * Return one of the page's icons. It says nothing to those who cannot see it.
 *
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/**
 * Return a button. With an icon alone, the label is its name.
 *
 * @param {string} className
 * @param {string} label
 * @param {(event: MouseEvent) => void} onclick
 * @param {string} [iconName]
 */
export function button(className, label, onclick, iconName) {
  const content = iconName ? [icon(iconName)] : [label];
  const named = iconName ? { "aria-label": label, title: label } : {};
  return make("button", { type: "button", className, onclick, ...named }, ...content);
}

export const isPhone = matchMedia("(max-width: 720px)");
export const hasTouch = matchMedia("(pointer: coarse)").matches;

/**
 * Say something to those who listen to the page.
 *
 * @param {string} words
 */
export function announce(words) {
  $("announcer").textContent = words;
}
