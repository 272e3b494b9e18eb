import assert from "node:assert/strict";
import { test } from "node:test";

import { Asker } from "../../service/static/ask.js";

/** Questions whose answers the test gives. */
function desk() {
  /** @type {Map<string, {resolve: (answer: string) => void, reject: (error: Error) => void, signal: AbortSignal}>} */
  const open = new Map();
  /** @type {string[]} */
  const told = [];
  const asker = new Asker(
    (/** @type {string} */ answer) => told.push(answer),
    (error) => told.push(`error ${error instanceof Error ? error.message : error}`),
  );
  const ask = (/** @type {string} */ name) =>
    asker.ask((signal) => new Promise((resolve, reject) => open.set(name, { resolve, reject, signal })));
  const answer = async (/** @type {string} */ name) => {
    open.get(name)?.resolve(name);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { asker, ask, answer, open, told };
}

test("one question is on its way, the newest waits, those between are dropped", async () => {
  const { ask, answer, open, told } = desk();

  ask("first");
  ask("second");
  ask("third");
  assert.deepEqual([...open.keys()], ["first"]);
  await answer("first");
  assert.deepEqual([...open.keys()], ["first", "third"]);
  await answer("third");

  assert.deepEqual(told, ["first", "third"]);
});

test("after an error the next question is asked", async () => {
  const { ask, answer, open, told } = desk();

  ask("first");
  ask("second");
  open.get("first")?.reject(new Error("no"));
  await new Promise((resolve) => setImmediate(resolve));
  await answer("second");

  assert.deepEqual(told, ["error no", "second"]);
});

test("what was cancelled is not told, though it is answered, and its signal says so", async () => {
  const { asker, ask, answer, open, told } = desk();

  ask("first");
  ask("waiting");
  asker.cancel();
  assert.equal(open.get("first")?.signal.aborted, true);
  ask("second");
  await answer("second");
  await answer("first");

  assert.deepEqual(told, ["second"]);
  assert.deepEqual([...open.keys()], ["first", "second"]);
});
