import assert from "node:assert/strict";
import { test } from "node:test";

import { RequestQueue } from "../../service/static/request_queue.js";

/** A queue whose requests are completed by the test. */
function setUp() {
  /** @type {Map<string, {resolve: (response: string) => void, reject: (error: Error) => void, signal: AbortSignal}>} */
  const started = new Map();
  /** @type {string[]} */
  const results = [];
  const queue = new RequestQueue(
    (/** @type {string} */ response) => results.push(response),
    (error) => results.push(`error ${error instanceof Error ? error.message : error}`),
  );
  const submit = (/** @type {string} */ name) =>
    queue.submit((signal) => new Promise((resolve, reject) => started.set(name, { resolve, reject, signal })));
  const respond = async (/** @type {string} */ name) => {
    started.get(name)?.resolve(name);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { queue, submit, respond, started, results };
}

test("one request runs, the newest waits, older waiting ones are dropped", async () => {
  const { submit, respond, started, results } = setUp();

  submit("first");
  submit("second");
  submit("third");
  assert.deepEqual([...started.keys()], ["first"]);
  await respond("first");
  assert.deepEqual([...started.keys()], ["first", "third"]);
  await respond("third");

  assert.deepEqual(results, ["first", "third"]);
});

test("the waiting request runs after an error", async () => {
  const { submit, respond, started, results } = setUp();

  submit("first");
  submit("second");
  started.get("first")?.reject(new Error("no"));
  await new Promise((resolve) => setImmediate(resolve));
  await respond("second");

  assert.deepEqual(results, ["error no", "second"]);
});

test("a cancelled request is aborted, and its response is ignored", async () => {
  const { queue, submit, respond, started, results } = setUp();

  submit("first");
  submit("waiting");
  queue.cancel();
  assert.equal(started.get("first")?.signal.aborted, true);
  submit("second");
  await respond("second");
  await respond("first");

  assert.deepEqual(results, ["second"]);
  assert.deepEqual([...started.keys()], ["first", "second"]);
});
