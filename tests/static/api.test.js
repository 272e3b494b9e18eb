import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { ApiError, Offline, explain, models, probabilities, unitImage } from "../../service/static/api.js";

const MODEL = { name: "ink", version: "1" };
const fetched = globalThis.fetch;

afterEach(() => {
  globalThis.fetch = fetched;
});

/**
 * Respond to every request in the same way, and record the requests.
 * @param {number} status
 * @param {string} body
 */
function serve(status, body) {
  /** @type {[string, RequestInit][]} */
  const requests = [];
  globalThis.fetch = async (path, init) => {
    requests.push([String(path), /** @type {RequestInit} */ (init)]);
    return new Response(body, { status });
  };
  return requests;
}

test("strokes are sent as JSON to the path of the version, and the prediction is returned", async () => {
  const requests = serve(200, '{"predictions": [{"label": "7"}]}');

  const explanation = await explain(MODEL, { strokes: [[[1, 2]]] }, { label: "9" });

  const [[path, init]] = requests;
  assert.equal(explanation.label, "7");
  assert.equal(path, "v1/models/ink/versions/1/explain?label=9");
  assert.deepEqual(JSON.parse(String(init.body)), { strokes: [[[1, 2]]] });
});

test("an image file is sent unchanged", async () => {
  const requests = serve(200, '{"predictions": [{"label": "7"}]}');
  const picture = new Blob(["x"], { type: "image/png" });

  await probabilities(MODEL, { picture });

  assert.equal(requests[0][1].body, picture);
  assert.equal(new Headers(requests[0][1].headers).get("Content-Type"), "image/png");
});

test("an error response is an ApiError with the service's message", async () => {
  serve(422, '{"detail": "Drawing should have ink."}');

  await assert.rejects(models(), (error) => error instanceof ApiError && error.status === 422 && error.message === "Drawing should have ink.");
});

test("no response, and a response of a proxy, are Offline", async () => {
  serve(502, "<html>");
  await assert.rejects(models(), Offline);
  globalThis.fetch = async () => {
    throw new TypeError("failed to fetch");
  };
  await assert.rejects(models(), Offline);
});

test("an aborted request rejects with the reason of its signal", async () => {
  const stop = new AbortController();
  stop.abort(new Error("mine"));
  serve(200, "{}");

  await assert.rejects(models(stop.signal), /mine/);
});

test("names are escaped in paths", () => {
  assert.equal(unitImage({ name: "a/b", version: "1" }, "h 1", 3, "safe"), "v1/models/a%2Fb/versions/1/weights/h%201/3.png?scale=2&palette=safe");
});
