// Ask a Lookalike server. Types come from the server's OpenAPI document: `make clients` writes them anew.

import createClient, { type Client } from "openapi-fetch";

import { ConnectionFailedError, makeRetryingFetch, readRetryAfter } from "./retrying.js";
import type { components, paths } from "./schema.js";

export { ConnectionFailedError };

type Schemas = components["schemas"];
export type BatchReply = Schemas["BatchReply"];
export type Hit = Schemas["HitReply"];
export type Product = Schemas["OneProductReply"];
export type ProductsReply = Schemas["ProductsReply"];
export type SearchReply = Schemas["SearchReply"];
export type Snapshot = Schemas["SnapshotReply"];
type Needless<T> = { [Name in keyof T]?: T[Name] | undefined };
export type Suggestion = Schemas["CompletionReply"];
/**
 * The fields of a query, all of them optional: exactly one of `image`, `url`, `product_id`, `vector`, `text` and `positive`;
 * a `text` may stand beside any of the first four.
 */
export type Query = Needless<Schemas["SearchRequest"]>;
export type Listing = NonNullable<paths["/v1/products"]["get"]["parameters"]["query"]>;
export type SuggestOptions = Omit<NonNullable<paths["/v1/suggest"]["get"]["parameters"]["query"]>, "text">;
export type SimilarOptions = Omit<NonNullable<paths["/v1/products/{product_id}/similar"]["get"]["parameters"]["query"]>, "id">;
export type ThumbnailSize = 64 | 128 | 256 | 512 | 1024;

export interface Options {
  apiKey?: string | undefined;
  /** Milliseconds that a call may take with all its tries: 30,000. */
  timeoutMs?: number;
  /** How often to try again: 5. */
  retries?: number;
  fetch?: typeof fetch;
}

/** The server refused: `code` never changes its meaning, `detail` says what to do. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";

  constructor(
    readonly code: string,
    readonly detail: string,
    readonly status: number,
    readonly requestId: string | undefined,
    readonly retryAfter: number | undefined,
  ) {
    super(`${code}: ${detail}`);
  }
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

export class LookalikeClient {
  readonly #api: Client<paths>;

  constructor(url: string, options: Options = {}) {
    const { apiKey, timeoutMs = 30_000, retries = 5 } = options;
    this.#api = createClient<paths>({
      baseUrl: url.replace(/\/+$/, ""),
      fetch: makeRetryingFetch({ retries, timeoutMs }, options.fetch),
      headers: apiKey === undefined ? {} : { Authorization: `Bearer ${apiKey}` },
    });
  }

  /** Search by picture (base64), URL, product, vector, text or examples. */
  async search(query: Query): Promise<SearchReply> {
    return take<SearchReply>(await this.#api.POST("/v1/search", { body: query as Schemas["SearchRequest"] }));
  }

  /** Search with the bytes of a picture's file. */
  async searchPicture(picture: Uint8Array, options: Query = {}): Promise<SearchReply> {
    return this.search({ ...options, image: toBase64(picture) });
  }

  /** Ask several queries, which are answered from one snapshot: each by hits or by a problem. */
  async searchBatch(queries: Query[]): Promise<BatchReply> {
    const body = { queries } as Schemas["BatchRequest"];
    const found = await this.#api.POST("/v1/search/batch", { body }); // not line by line: nobody asks for that here
    return take<BatchReply>(found as Answer<BatchReply>);
  }

  /** Return what a text may become whose last word is not finished, or misspelt. */
  async suggest(text: string, options: SuggestOptions = {}): Promise<Suggestion[]> {
    const params = { query: { ...options, text } };
    return take<Schemas["SuggestReply"]>(await this.#api.GET("/v1/suggest", { params })).suggestions;
  }

  async product(id: string): Promise<Product> {
    return take<Product>(await this.#api.GET("/v1/products/{product_id}", { params: locate(id) }));
  }

  /** Return products that satisfy the filters; `find` looks them up by a title's words or an id's beginning. */
  async products(options: Listing = {}): Promise<ProductsReply> {
    return take<ProductsReply>(await this.#api.GET("/v1/products", { params: { query: options } }));
  }

  /** Return a product's lookalikes. */
  async similar(id: string, options: SimilarOptions = {}): Promise<SearchReply> {
    const { path, query } = locate(id);
    const params = { path, query: { ...options, ...query } };
    return take<SearchReply>(await this.#api.GET("/v1/products/{product_id}/similar", { params }));
  }

  /** Return a product's picture; with `size` a small JPEG of it. */
  async image(id: string, size?: ThumbnailSize): Promise<ArrayBuffer> {
    const { path, query } = locate(id);
    const params = { path, query: size === undefined ? query : { ...query, size } };
    const found = await this.#api.GET("/v1/products/{product_id}/image", { params, parseAs: "arrayBuffer" });
    return take<ArrayBuffer>(found as Answer<ArrayBuffer>);
  }

  /** Return what is served. */
  async snapshot(): Promise<Snapshot> {
    return take<Snapshot>(await this.#api.GET("/v1/snapshots/current", {}));
  }
}

/** Ids hold slashes and spaces, which are encoded; no client sends the paths `.` and `..` as they are. */
function locate(id: string): { path: { product_id: string }; query: { id?: string } } {
  return id === "." || id === ".." ? { path: { product_id: "_" }, query: { id } } : { path: { product_id: id }, query: {} };
}

function take<T>(answer: Answer<T>): T {
  if (answer.response.ok && answer.data !== undefined) return answer.data;
  throw asProblem(answer.error, answer.response);
}

function asProblem(error: unknown, response: Response): ProblemError {
  const found = (typeof error === "object" && error !== null ? error : {}) as Partial<Record<string, unknown>>;
  const requestId = response.headers.get("x-request-id") ?? undefined;
  const retryAfter = readRetryAfter(response.headers.get("retry-after"));
  if (typeof found["code"] === "string") {
    return new ProblemError(found["code"], String(found["detail"]), response.status, requestId, retryAfter);
  }
  const detail = "this is no answer of a Lookalike server: a proxy may have written it";
  return new ProblemError(`http_${response.status}`, detail, response.status, requestId, retryAfter);
}

function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let start = 0; start < bytes.length; start += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
  }
  return btoa(text);
}
