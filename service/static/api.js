/**
 * Client of the HTTP API, one function per endpoint. A problem document becomes an `ApiError`, no response an `Offline`.
 *
 * Paths are relative to the page's address, because a proxy may serve the page under any path.
 *
 * @typedef {import("./drawing.js").Drawing} Drawing
 * @typedef {"lesson" | "safe"} Palette
 * @typedef {{name: string, version: string}} Model
 *
 * @typedef {object} Layer  A layer in a model's summary.
 * @property {string} name
 * @property {number} inputs
 * @property {number} units
 * @property {string} activation
 * @property {number} parameters
 *
 * @typedef {object} Summary  Response of `GET /v1/models/{model}`.
 * @property {string} name
 * @property {string} version
 * @property {string[]} versions
 * @property {string} description
 * @property {number[]} input
 * @property {"mnist" | "letters" | "resize" | "none"} preprocessing
 * @property {string[]} labels
 * @property {Layer[]} layers
 * @property {number} parameters
 * @property {{fit: string, data: string, split: string, examples: number, accuracy: number}[]} metrics
 *
 * @typedef {object} Step  The drawing after one preprocessing step.
 * @property {string} name
 * @property {string} title
 * @property {number} width  In pixels.
 * @property {number} height  In pixels.
 * @property {string} picture  A `data:` URL.
 *
 * @typedef {object} Prediction  Prediction for one drawing.
 * @property {string} label
 * @property {number} index
 * @property {number} confidence  0 to 1.
 * @property {boolean} [sure]  Whether the drawing resembles the training data; missing if the model has no threshold.
 * @property {boolean} [several]  Whether the drawing shows more than one digit; missing if not.
 * @property {number[]} [probabilities]  One per class.
 * @property {any} [seen]  The network's input, 0 to 255, in the shape of the input.
 * @property {Step[]} [steps]
 *
 * @typedef {Prediction & {box: [number, number, number, number]}} ReadDigit  Box: left, top, right, bottom.
 *
 * @typedef {object} Reading  Response of `read`.
 * @property {string} text  The digits, with a line feed between lines.
 * @property {number} confidence  Product of the digits' confidences.
 * @property {ReadDigit[]} digits
 *
 * @typedef {object} ExplanationPart
 * @property {string} explained  The label whose logit is explained.
 * @property {number} logit  Sum of the bias and all shares.
 * @property {number} bias
 * @property {any} shares  One per pixel, in the shape of the input.
 * @property {{layer: string, values: number[]}[]} [activations]
 *
 * @typedef {Prediction & ExplanationPart} Explanation
 */

/**
 * Return whether a network classifies drawings.
 * @param {{preprocessing: string}} model
 */
export function acceptsDrawings({ preprocessing }) {
  return preprocessing === "mnist" || preprocessing === "letters";
}

/** Timeout of a response, in milliseconds. */
const TIMEOUT = 15_000;

/** An error response of the service. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} detail  What was expected and received.
   */
  constructor(status, detail) {
    super(detail);
    this.name = "ApiError";
    this.status = status;
  }
}

/** The service does not respond. */
export class Offline extends Error {
  constructor() {
    super("The service does not respond.");
    this.name = "Offline";
  }
}

/**
 * List the newest version of every served model.
 * @param {AbortSignal} [signal]
 * @returns {Promise<{default: string | null, models: Summary[]}>}
 */
export function models(signal) {
  return get("v1/models", signal);
}

/**
 * Return the summary of one version.
 * @param {Model} model
 * @param {AbortSignal} [signal]
 * @returns {Promise<Summary>}
 */
export function summary(model, signal) {
  return get(pathOf(model), signal);
}

/**
 * Predict the class of a drawing.
 * @param {Model} model
 * @param {Drawing} drawing
 * @param {Record<string, string>} [query]  Such as `include`.
 * @param {AbortSignal} [signal]
 * @returns {Promise<Prediction & {probabilities: number[]}>}
 */
export function probabilities(model, drawing, query = {}, signal) {
  return post(`${pathOf(model)}/probabilities`, drawing, query, signal);
}

/**
 * Explain a prediction: return each pixel's share in the logit of one class.
 * @param {Model} model
 * @param {Drawing} drawing
 * @param {Record<string, string>} [query]  Such as `label`.
 * @param {AbortSignal} [signal]
 * @returns {Promise<Explanation>}
 */
export function explain(model, drawing, query = {}, signal) {
  return post(`${pathOf(model)}/explain`, drawing, query, signal);
}

/**
 * Read a number of several digits.
 * @param {Model} model
 * @param {Drawing} drawing
 * @param {AbortSignal} [signal]
 * @returns {Promise<Reading>}
 */
export function read(model, drawing, signal) {
  return send(`${pathOf(model)}/read`, drawing, {}, signal);
}

/**
 * List the layers that have weights.
 * @param {Model} model
 * @param {AbortSignal} [signal]
 * @returns {Promise<{layers: {name: string, shape: number[], minimum: number, maximum: number, images: boolean}[]}>}
 */
export function weights(model, signal) {
  return get(`${pathOf(model)}/weights`, signal);
}

/**
 * Return the report of a model.
 * @param {Model} model
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export function report(model, signal) {
  return get(`${pathOf(model)}/report`, signal);
}

/**
 * Return the address of the weight image of one unit.
 * @param {Model} model
 * @param {string} layer
 * @param {number} unit
 * @param {Palette | ""} palette  Empty for the default.
 * @param {number} scale  Pixels per weight.
 */
export function unitImage(model, layer, unit, palette, scale = 2) {
  const query = new URLSearchParams({ scale: String(scale), ...(palette && { palette }) });
  return `${pathOf(model)}/weights/${encodeURIComponent(layer)}/${unit}.png?${query}`;
}

/**
 * Return the address of the image of a layer: the weight images of all its units, or its matrix.
 * @param {Model} model
 * @param {string} layer
 * @param {Palette} palette
 * @param {number} scale  Pixels per weight.
 */
export function layerImage(model, layer, palette, scale = 1) {
  return `${pathOf(model)}/weights/${encodeURIComponent(layer)}.png?${new URLSearchParams({ palette, scale: String(scale) })}`;
}

/** @param {Model} model */
function pathOf(model) {
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
 * Send one drawing and return the only prediction of the response.
 * @param {string} path
 * @param {Drawing} drawing
 * @param {Record<string, string>} query
 * @param {AbortSignal | undefined} signal
 */
async function post(path, drawing, query, signal) {
  return (await send(path, drawing, query, signal)).predictions[0];
}

/**
 * Send one drawing and return the response.
 * @param {string} path
 * @param {Drawing} drawing
 * @param {Record<string, string>} query
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<any>}
 */
function send(path, drawing, query, signal) {
  const [type, body] =
    "picture" in drawing
      ? [drawing.picture.type || "application/octet-stream", drawing.picture]
      : ["application/json", JSON.stringify({ strokes: drawing.strokes })];
  return request(
    `${path}?${new URLSearchParams(query)}`,
    { method: "POST", headers: { "Content-Type": type, Accept: "application/json" }, body },
    signal,
  );
}

/**
 * @param {string} path
 * @param {RequestInit} init
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<any>}
 */
async function request(path, init, signal) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), TIMEOUT);
  const stop = () => controller.abort();
  signal?.addEventListener("abort", stop);
  try {
    signal?.throwIfAborted();
    const response = await fetch(path, { ...init, signal: controller.signal });
    if (!response.ok) {
      throw await errorOf(response);
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
async function errorOf(response) {
  try {
    const problem = await response.json();
    return new ApiError(response.status, problem.detail);
  } catch {
    return new Offline(); // the response is from a proxy, not from the service
  }
}
