import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { ApiError, Offline, explain, models, probabilities, unitImage } from "../../service/static/api.js";

const MODEL = { name: "ink", version: "1" };
const fetched = globalThis.fetch;

afterEach(() => {
  globalThis.fetch = fetched;
});

/**
 * Answer every request the same way, and note what was asked.
 * @param {number} status
 * @param {string} body
 */
function serve(status, body) {
  /** @type {[string, RequestInit][]} */
  const asked = [];
  globalThis.fetch = async (path, init) => {
    asked.push([String(path), /** @type {RequestInit} */ (init)]);
    return new Response(body, { status });
  };
  return asked;
}

test("strokes go as JSON to the version's own path, and the entry comes back", async () => {
  const asked = serve(200, '{"predictions": [{"label": "7"}]}');

  const answer = await explain(MODEL, { strokes: [[[1, 2]]] }, { label: "9" });

  const [[path, init]] = asked;
  assert.equal(answer.label, "7");
  assert.equal(path, "v1/models/ink/versions/1/explain?label=9");
  assert.deepEqual(JSON.parse(String(init.body)), { strokes: [[[1, 2]]] });
});

test("a picture goes as it is", async () => {
  const asked = serve(200, '{"predictions": [{"label": "7"}]}');
  const picture = new Blob(["x"], { type: "image/png" });

  await probabilities(MODEL, { picture });

  assert.equal(asked[0][1].body, picture);
  assert.equal(new Headers(asked[0][1].headers).get("Content-Type"), "image/png");
});

test("a refusal is told in the service's words", async () => {
  serve(422, '{"detail": "Drawing should have ink."}');

  await assert.rejects(models(), (error) => error instanceof ApiError && error.status === 422 && error.message === "Drawing should have ink.");
});

test("silence, and an answer that is not the service's, are told as such", async () => {
  serve(502, "<html>");
  await assert.rejects(models(), Offline);
  globalThis.fetch = async () => {
    throw new TypeError("failed to fetch");
  };
  await assert.rejects(models(), Offline);
});

test("who gives up hears his own reason", async () => {
  const stop = new AbortController();
  stop.abort(new Error("mine"));
  serve(200, "{}");

  await assert.rejects(models(stop.signal), /mine/);
});

test("names are escaped in paths", () => {
  assert.equal(unitImage({ name: "a/b", version: "1" }, "h 1", 3, "safe"), "v1/models/a%2Fb/versions/1/weights/h%201/3.png?scale=2&palette=safe");
});
