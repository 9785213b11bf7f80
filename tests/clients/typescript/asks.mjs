// Asks a server by the built client, and prints what came of it as JSON.
// Arguments: the module, the server's address, its key, a picture, and the ids of products as JSON.
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const [module, url, apiKey, picture, ids] = process.argv.slice(2);
const { LookalikeClient, ConnectionFailedError, ProblemError } = await import(pathToFileURL(module).href);

async function problemOf(call) {
  try {
    await call();
  } catch (error) {
    if (error instanceof ProblemError) return { code: error.code, status: error.status, hasId: Boolean(error.requestId) };
    if (error instanceof ConnectionFailedError) return { code: "connection", hasKey: error.message.includes(apiKey) };
    throw error;
  }
  return undefined;
}

let tries = 0;
const busyTwice = async (request) => {
  tries += 1;
  return tries < 3 ? new Response("{}", { status: 429, headers: { "Retry-After": "0" } }) : fetch(request);
};

const client = new LookalikeClient(`${url}/`, { apiKey });
const products = [];
for (const id of JSON.parse(ids)) {
  const { hits } = await client.similar(id, { k: 3 });
  products.push({ id: (await client.product(id)).id, bytes: (await client.image(id)).byteLength, isHit: hits.some((hit) => hit.id === id) });
}
const found = await client.searchPicture(await readFile(picture), { k: 3, filter: ["stock>=0"], facets: ["category"] });
const sorted = await client.search({ product_id: found.hits[0].id, k: 5, sort: "price:desc", reach: 20 });
const listed = await client.products({ find: "product 1", sort: "price:asc", limit: 5 });
const named = await client.search({ text: "prodct 7", explain: true, k: 1 });
const suggested = await client.suggest("pro", { limit: 1 });
const batch = await client.searchBatch([{ product_id: found.hits[0].id, k: 1 }, { product_id: "none such" }]);
await new LookalikeClient(url, { apiKey, fetch: busyTwice }).snapshot();
console.log(
  JSON.stringify({
    products,
    tries,
    hits: found.hits.map((hit) => hit.id),
    facets: Object.keys(found.facets ?? {}),
    prices: sorted.hits.map((hit) => hit.attributes.price),
    named: [named.hits[0].title, named.understood.words[0].found, named.hits[0].why.scores.words === named.hits[0].score],
    suggested,
    listed: listed.products.map((product) => product.attributes.price),
    small: (await client.image(found.hits[0].id, 64)).byteLength,
    batch: batch.results.map((result) => result.problem?.code ?? "hits"),
    snapshot: (await client.snapshot()).products,
    unknown: await problemOf(() => client.product("none such")),
    wrongK: await problemOf(() => client.search({ product_id: found.hits[0].id, k: 0 })),
    wrongKey: await problemOf(() => new LookalikeClient(url, { apiKey: "lk_wrong" }).snapshot()),
    away: await problemOf(() => new LookalikeClient("http://127.0.0.1:1", { apiKey, retries: 1 }).snapshot()),
  }),
);
