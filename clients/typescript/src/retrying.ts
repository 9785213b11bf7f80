// A fetch that tries again: every call may be sent twice, because none changes anything.

export interface RetryOptions {
  /** How often to try again after the first try. */
  retries: number;
  /** Milliseconds that a call may take with all its tries. */
  timeoutMs: number;
}

const TRANSIENT = new Set([429, 502, 503, 504]);

/** The server cannot be reached, or did not answer in time. */
export class ConnectionFailedError extends Error {
  override readonly name = "ConnectionFailedError";
}

/** Return the seconds that `Retry-After` says, or undefined. */
export function readRetryAfter(value: string | null, now: number = Date.now()): number | undefined {
  if (value === null || value.trim() === "") return undefined;
  const seconds = Number(value);
  if (Number.isFinite(seconds)) return Math.max(0, seconds);
  const then = Date.parse(value);
  return Number.isNaN(then) ? undefined : Math.max(0, (then - now) / 1000);
}

/** Return a fetch with retries. Waits double, a part of each is random, and `Retry-After` is kept to. */
export function makeRetryingFetch(options: RetryOptions, send: typeof fetch = fetch): (request: Request) => Promise<Response> {
  return async (request) => {
    const deadline = Date.now() + options.timeoutMs;
    for (let failed = 0; ; ) {
      const signal = AbortSignal.any([request.signal, AbortSignal.timeout(Math.max(1, deadline - Date.now()))]);
      let failure: unknown;
      let response: Response | undefined;
      try {
        // the key is for this server: no redirect is followed
        response = await send(new Request(request.clone(), { signal, redirect: "manual" }));
      } catch (error) {
        failure = error;
      }
      if (response !== undefined && !TRANSIENT.has(response.status)) return response;
      failed += 1;
      const backoff = Math.min(5, 0.1 * 2 ** (failed - 1));
      const asked = readRetryAfter(response?.headers.get("retry-after") ?? null);
      const seconds = asked === undefined ? backoff * (0.5 + Math.random() / 2) : asked + Math.random() * Math.min(1, backoff);
      const isOver = failed > options.retries || request.signal.aborted || Date.now() + 1000 * seconds >= deadline;
      if (isOver && response !== undefined) return response;
      if (isOver) throw new ConnectionFailedError(`${new URL(request.url).origin} does not answer: ${String(failure)}`);
      await response?.body?.cancel();
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    }
  };
}
