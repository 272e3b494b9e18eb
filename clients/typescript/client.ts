/** Client of Inkling's HTTP API, on `fetch`. Its types are generated from the service's `/openapi.json`. */

import type { components, operations } from "./schema.js";

type Schemas = components["schemas"];
type Query<Name extends keyof operations> = NonNullable<operations[Name]["parameters"]["query"]>;

export type Models = Schemas["Models"];
export type ModelSummary = Schemas["ModelSummary"];
export type Prediction = Schemas["Prediction"];
export type Predictions = Schemas["Predictions"];
export type Probabilities = Schemas["Probabilities"];
export type Explanations = Schemas["Explanations"];
export type Reading = Schemas["Reading"];
export type Problem = Schemas["ProblemDocument"];

/** A model by its name, which means its newest version, or one of its versions. */
export type Model = string | { name: string; version: string };

/**
 * Images or a drawing: a JSON body (`{ strokes }`, `{ image }` or `{ images }`), an image file or a NumPy file, a form
 * of image files, or raw pixels of one byte each.
 */
export type Images = Schemas["ImageBody"] | Blob | FormData | Uint8Array<ArrayBuffer>;

export interface Options {
  /** API key. */
  key?: string;
  /** Timeout of a request in milliseconds; 15,000 by default. */
  timeout?: number;
  /** Replaces the global `fetch`. */
  fetch?: typeof fetch;
}

/** An error response of the service. */
export class InklingError extends Error {
  /**
   * @param status  HTTP status.
   * @param problem  The problem document; undefined if a proxy sent the response.
   * @param retryAfter  Seconds after which a retry can succeed; undefined if the response has none.
   */
  constructor(
    readonly status: number,
    readonly problem: Problem | undefined,
    readonly retryAfter: number | undefined,
  ) {
    super(problem?.detail ?? `The response has status ${status}.`);
    this.name = "InklingError";
  }
}

export class Inkling {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #timeout: number;
  readonly #fetch: typeof fetch;

  /** @param url  Address of the service, such as `http://127.0.0.1:8000`, with its path if it has one. */
  constructor(url: string, { key, timeout = 15_000, fetch: send = fetch }: Options = {}) {
    this.#url = url.replace(/\/+$/, "");
    this.#headers = { Accept: "application/json", ...(key !== undefined && { Authorization: `Bearer ${key}` }) };
    this.#timeout = timeout;
    this.#fetch = (...request) => send(...request); // a browser's `fetch` must not be called as a method
  }

  /** List the newest version of every served model. */
  models(signal?: AbortSignal): Promise<Models> {
    return this.#request("/v1/models", {}, signal);
  }

  /** Describe one model. */
  model(model: Model, signal?: AbortSignal): Promise<ModelSummary> {
    return this.#request(pathOf(model), {}, signal);
  }

  /** Return the top classes of each image. */
  predict(model: Model, images: Images, query: Query<"predict"> = {}, signal?: AbortSignal): Promise<Predictions> {
    return this.#post(model, "predict", images, query, signal);
  }

  /** Return the probability of every class for each image. */
  probabilities(
    model: Model,
    images: Images,
    query: Query<"probabilities"> = {},
    signal?: AbortSignal,
  ): Promise<Probabilities> {
    return this.#post(model, "probabilities", images, query, signal);
  }

  /** Return the attribution of each pixel to the logit of a class. */
  explain(model: Model, images: Images, query: Query<"explain"> = {}, signal?: AbortSignal): Promise<Explanations> {
    return this.#post(model, "explain", images, query, signal);
  }

  /** Read a number of several digits from one drawing or picture. */
  read(model: Model, drawing: Images, query: Query<"read"> = {}, signal?: AbortSignal): Promise<Reading> {
    return this.#post(model, "read", drawing, query, signal);
  }

  #post<Response>(
    model: Model,
    operation: string,
    images: Images,
    query: Record<string, unknown>,
    signal: AbortSignal | undefined,
  ): Promise<Response> {
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
    const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)])); // lists: by commas
    return this.#request(`${pathOf(model)}/${operation}?${search}`, { method: "POST", ...bodyOf(images) }, signal);
  }

  async #request<Response>(path: string, init: RequestInit, signal: AbortSignal | undefined): Promise<Response> {
    const controller = new AbortController();
    const abort = () => controller.abort(signal?.reason);
    const timer = setTimeout(() => controller.abort(new DOMException("No response in time.", "TimeoutError")), this.#timeout);
    signal?.addEventListener("abort", abort);
    try {
      signal?.throwIfAborted();
      const headers = { ...this.#headers, ...(init.headers as Record<string, string> | undefined) };
      const response = await this.#fetch(this.#url + path, { ...init, headers, signal: controller.signal });
      if (!response.ok) {
        throw await errorOf(response);
      }
      return (await response.json()) as Response;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }
}

function pathOf(model: Model): string {
  const { name, version } = typeof model === "string" ? { name: model, version: undefined } : model;
  const path = `/v1/models/${encodeURIComponent(name)}`;
  return version === undefined ? path : `${path}/versions/${encodeURIComponent(version)}`;
}

function bodyOf(images: Images): RequestInit {
  if (images instanceof FormData) {
    return { body: images }; // `fetch` adds the header with the boundary
  }
  if (images instanceof Blob) {
    return { body: images, headers: { "Content-Type": images.type || "application/octet-stream" } };
  }
  if (images instanceof Uint8Array) {
    return { body: images, headers: { "Content-Type": "application/octet-stream" } };
  }
  return { body: JSON.stringify(images), headers: { "Content-Type": "application/json" } };
}

async function errorOf(response: Response): Promise<InklingError> {
  const isProblem = response.headers.get("Content-Type")?.startsWith("application/problem+json");
  const problem = isProblem ? ((await response.json()) as Problem) : undefined;
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new InklingError(response.status, problem, Number.isNaN(seconds) ? undefined : seconds);
}
