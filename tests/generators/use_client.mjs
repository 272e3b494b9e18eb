/** Uses every method of the TypeScript client against the service at the address in the first argument. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import { Inkling, InklingError } from "./dist/client.js";

const url = process.argv[2];
const inkling = new Inkling(`${url}/`);
const file = await readFile("seven.png");
const picture = new Blob([file], { type: "image/png" });
const strokes = [[[20, 20], [80, 20], [40, 110]]];

const { models } = await inkling.models();
const ink = models.find((model) => model.name === "ink");
assert.ok(ink);
const version = { name: "ink", version: ink.version };
assert.deepEqual(await inkling.model(version), ink);

const form = new FormData();
form.append("images", picture, "seven.png");
form.append("images", picture, "again.png");
for (const [images, count] of [
  [{ strokes }, 1],
  [picture, 1],
  [new Blob([file]), 1],
  [form, 2],
]) {
  const { predictions } = await inkling.predict("ink", images, { top: 1 });
  assert.deepEqual(predictions.map((one) => [one.label, one.top.length]), Array(count).fill(["7", 1]));
}
const named = await inkling.predict("ink", form);
assert.deepEqual(named.predictions.map((one) => one.file), ["seven.png", "again.png"]);

const { predictions } = await inkling.probabilities(version, { strokes }, { include: ["seen", "steps"] });
assert.equal(predictions[0].probabilities.length, 10);
assert.equal(predictions[0].seen.length, 28);
assert.ok(predictions[0].steps.length > 1);
const pixels = Uint8Array.from(predictions[0].seen.flat());
assert.equal((await inkling.predict("ink", pixels, { prepare: "none" })).predictions[0].label, "7");
assert.equal((await inkling.explain("ink", { strokes }, { label: "7" })).predictions[0].explained, "7");
assert.equal((await inkling.read("ink", { strokes })).text, "7");

await assert.rejects(inkling.predict("ink", { image: [1, 2] }), (error) => {
  assert.ok(error instanceof InklingError);
  assert.equal(error.status, 400);
  assert.match(error.message, /^Field 'image' should be 28 x 28 numbers/);
  assert.equal(error.problem.type, "/problems/malformed-request");
  return true;
});
await assert.rejects(inkling.predict("no/body", picture), { status: 404 });
await assert.rejects(inkling.models(AbortSignal.abort(new Error("no longer"))), { message: "no longer" });
const busy = async () => new Response("busy", { status: 503, headers: { "Retry-After": "2" } });
await assert.rejects(new Inkling(url, { fetch: busy }).models(), { status: 503, problem: undefined, retryAfter: 2 });
const silent = (_, { signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
await assert.rejects(new Inkling(url, { fetch: silent, timeout: 20 }).models(), { name: "TimeoutError" });
const keyed = async (_, { headers }) => Response.json(headers);
assert.equal((await new Inkling(url, { key: "k", fetch: keyed }).models()).Authorization, "Bearer k");
