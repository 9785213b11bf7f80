// Roles: which attributes are a product's price, brand and link, by the names that shops give them.

import { sayName, sayPrice, sayValue } from "./words.js";

/** @typedef {import("./api.js").Product} Product */

const NAMES = {
  sale: /^(sale|special|offer|reduced|discount(ed)?)[_ -]?price$/i,
  price: /^(price|regular[_ -]?price|variant[_ -]?price|preis|prix|precio|prezzo|prijs|amount)$/i,
  currency: /^(currency([_ -]?code)?|price[_ -]?currency|währung|waehrung|devise|moneda|valuta)$/i,
  brand: /^(brand|vendor|manufacturer|maker|designer|marke|hersteller|marque|marca|merk)$/i,
  link: /^(link|url|product[_ -]?(url|link)|permalink|page|mobile[_ -]?link)$/i,
  text: /^(description|body([_ (-]*html\)?)?|details|summary|beschreibung|short[_ -]?description)$/i,
  category: /^((product[_ -]?)?(category|categories|type)|google[_ -]?product[_ -]?category|kategorie|warengruppe|rubrique)$/i,
  image: /(image|img|photo|picture|bild)[_ -]?(link|url|src)?/i,
};

/** @typedef {keyof typeof NAMES} Role */

/** @param {string} name @returns {Role | null} */
export function findRole(name) {
  const found = Object.entries(NAMES).find(([, pattern]) => pattern.test(name));
  return found ? /** @type {Role} */ (found[0]) : null;
}

/** @param {Product} product @param {Role} role @returns {any} */
function valueOf(product, role) {
  const found = Object.entries(product.attributes ?? {}).find(([name, value]) => isThere(value) && findRole(name) === role);
  return found?.[1];
}

/** @param {any} value */
const isThere = (value) => value !== null && value !== "" && !(Array.isArray(value) && !value.length);

/**
 * What a product costs, and what it cost before where that is more.
 *
 * @param {Product} product
 * @returns {{now: string, before: string} | null}
 */
export function findPrice(product) {
  const [price, sale] = [valueOf(product, "price"), valueOf(product, "sale")];
  const now = sale ?? price;
  if (now === undefined) return null;
  const say = (/** @type {any} */ one) =>
    typeof one === "number" ? sayPrice(one, valueOf(product, "currency")) : sayValue(one);
  const isReduced = typeof sale === "number" && typeof price === "number" && sale < price;
  return { now: say(now), before: isReduced ? say(price) : "" };
}

/** @param {Product} product */
export const nameOf = (product) => product.title || product.id;
/** @param {Product} product */
export const findBrand = (product) => sayValue(valueOf(product, "brand"));
/** @param {Product} product */
export const findText = (product) => sayValue(valueOf(product, "text"));
/** @param {Product} product */
export const findCategory = (product) => sayValue(valueOf(product, "category"));

/** @param {Product} product @returns {string} an address of the web, or nothing */
export function findLink(product) {
  const value = valueOf(product, "link");
  try {
    const address = new URL(String(value ?? ""));
    return /^https?:$/.test(address.protocol) ? address.href : "";
  } catch {
    return "";
  }
}

const SHOWN_ELSEWHERE = new Set(["sale", "price", "currency", "brand", "link", "text", "image"]);

/** @param {Product} product @returns {Array<[string, string]>} what is left to say of a product */
export function listDetails(product) {
  return Object.entries(product.attributes ?? {})
    .filter(([name, value]) => isThere(value) && !SHOWN_ELSEWHERE.has(findRole(name) ?? ""))
    .map(([name, value]) => [sayName(name), sayValue(value)]);
}

/** @param {Product} product The one line below a title. */
export function describe(product) {
  const brand = findBrand(product);
  if (brand) return brand;
  const details = listDetails(product).filter(([, value]) => value.length < 40);
  return findCategory(product) || details.slice(0, 2).map(([, value]) => value).join(" · ");
}
