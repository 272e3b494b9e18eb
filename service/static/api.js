/**
 * The service's interface, one function per endpoint. A problem document becomes an `ApiError`, silence an `Offline`.
 *
 * Paths are relative to the page's address, as a proxy may show the page under any path.
 *
 * @typedef {import("./drawing.js").Drawing} Drawing
 * @typedef {"lesson" | "safe"} Palette
 * @typedef {{name: string, version: string}} Model
 *
 * @typedef {object} Layer  A row of a model's summary.
 * @property {string} name
 * @property {number} inputs
 * @property {number} units
 * @property {string} activation
 * @property {number} parameters
 *
 * @typedef {object} Summary  What `GET /v1/models/{m}` says.
 * @property {string} name
 * @property {string} version
 * @property {string[]} versions
 * @property {string} description
 * @property {number[]} input
 * @property {string[]} labels
 * @property {Layer[]} layers
 * @property {number} parameters
 * @property {{fit: string, data: string, split: string, examples: number, accuracy: number}[]} metrics
 *
 * @typedef {object} Step  The drawing after one step of its preparation.
 * @property {string} name
 * @property {string} title
 * @property {number} width  In pixels.
 * @property {number} height  In pixels.
 * @property {string} picture  A `data:` URL.
 *
 * @typedef {object} Answer  What a network says of one drawing.
 * @property {string} label
 * @property {number} index
 * @property {number} confidence  0 to 1.
 * @property {boolean} [sure]  Whether it looks like anything the network knows; missing where nobody measured that.
 * @property {number[]} [probabilities]  One a class.
 * @property {any} [seen]  The pixels that the network saw, 0 to 255, as its input is shaped.
 * @property {Step[]} [steps]
 *
 * @typedef {object} ExplanationPart
 * @property {string} explained  The label whose logit is explained.
 * @property {number} logit  The sum of the bias and all shares.
 * @property {number} bias
 * @property {any} shares  One a pixel, as the input is shaped.
 * @property {{layer: string, values: number[]}[]} [activations]
 *
 * @typedef {Answer & ExplanationPart} Explanation
 */

/** How long an answer may take, in milliseconds; after that the service counts as silent. */
const PATIENCE = 15_000;

/** The service's refusal. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} detail  What was expected and what came.
   */
  constructor(status, detail) {
    super(detail);
    this.name = "ApiError";
    this.status = status;
  }
}

/** The service does not answer. */
export class Offline extends Error {
  constructor() {
    super("The service does not answer.");
    this.name = "Offline";
  }
}

/**
 * List what is served, each model by its newest version.
 * @param {AbortSignal} [signal]
 * @returns {Promise<{default: string | null, models: Summary[]}>}
 */
export function models(signal) {
  return get("v1/models", signal);
}

/**
 * Describe one version.
 * @param {Model} model
 * @param {AbortSignal} [signal]
 * @returns {Promise<Summary>}
 */
export function summary(model, signal) {
  return get(home(model), signal);
}

/**
 * Ask what a drawing shows.
 * @param {Model} model
 * @param {Drawing} drawing
 * @param {Record<string, string>} [query]  Such as `include`.
 * @param {AbortSignal} [signal]
 * @returns {Promise<Answer & {probabilities: number[]}>}
 */
export function probabilities(model, drawing, query = {}, signal) {
  return post(`${home(model)}/probabilities`, drawing, query, signal);
}

/**
 * Ask for each pixel's share in one class's logit.
 * @param {Model} model
 * @param {Drawing} drawing
 * @param {Record<string, string>} [query]  Such as `label`.
 * @param {AbortSignal} [signal]
 * @returns {Promise<Explanation>}
 */
export function explain(model, drawing, query = {}, signal) {
  return post(`${home(model)}/explain`, drawing, query, signal);
}

/**
 * List the layers that have weights.
 * @param {Model} model
 * @param {AbortSignal} [signal]
 * @returns {Promise<{layers: {name: string, shape: number[], minimum: number, maximum: number, images: boolean}[]}>}
 */
export function weights(model, signal) {
  return get(`${home(model)}/weights`, signal);
}

/**
 * Read what was measured of a model.
 * @param {Model} model
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export function report(model, signal) {
  return get(`${home(model)}/report`, signal);
}

/**
 * Return the address of the weight image of one unit.
 * @param {Model} model
 * @param {string} layer
 * @param {number} unit
 * @param {Palette | ""} palette  Nothing for the usual one.
 * @param {number} scale  Pixels a weight.
 */
export function unitImage(model, layer, unit, palette, scale = 2) {
  const query = new URLSearchParams({ scale: String(scale), ...(palette && { palette }) });
  return `${home(model)}/weights/${encodeURIComponent(layer)}/${unit}.png?${query}`;
}

/**
 * Return the address of the picture of a layer: all its units' images, or its matrix.
 * @param {Model} model
 * @param {string} layer
 * @param {Palette} palette
 * @param {number} scale  Pixels a weight.
 */
export function layerImage(model, layer, palette, scale = 1) {
  return `${home(model)}/weights/${encodeURIComponent(layer)}.png?${new URLSearchParams({ palette, scale: String(scale) })}`;
}

/** @param {Model} model */
function home(model) {
  return `v1/models/${encodeURIComponent(model.name)}/versions/${encodeURIComponent(model.version)}`;
}

/**
 * @param {string} path
 * @param {AbortSignal | undefined} signal
 */
function get(path, signal) {
  return request(path, { headers: { Accept: "application/json" } }, signal);
}

/**
 * Send one drawing and return the answer's only entry.
 * @param {string} path
 * @param {Drawing} drawing
 * @param {Record<string, string>} query
 * @param {AbortSignal | undefined} signal
 */
async function post(path, drawing, query, signal) {
  const [type, body] =
    "picture" in drawing
      ? [drawing.picture.type || "application/octet-stream", drawing.picture]
      : ["application/json", JSON.stringify({ strokes: drawing.strokes })];
  const answer = await request(
    `${path}?${new URLSearchParams(query)}`,
    { method: "POST", headers: { "Content-Type": type, Accept: "application/json" }, body },
    signal,
  );
  return answer.predictions[0];
}

/**
 * @param {string} path
 * @param {RequestInit} init
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<any>}
 */
async function request(path, init, signal) {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), PATIENCE);
  const stop = () => patience.abort();
  signal?.addEventListener("abort", stop);
  try {
    signal?.throwIfAborted();
    const response = await fetch(path, { ...init, signal: patience.signal });
    if (!response.ok) {
      throw await refusal(response);
    }
    return await response.json();
  } catch (error) {
    if (signal?.aborted || error instanceof ApiError) {
      throw signal?.aborted ? signal.reason : error;
    }
    throw new Offline();
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

/**
 * @param {Response} response
 * @returns {Promise<Error>}
 */
async function refusal(response) {
  try {
    const problem = await response.json();
    return new ApiError(response.status, problem.detail);
  } catch {
    return new Offline(); // something on the way answered, not the service
  }
}
