import assert from "node:assert/strict";
import { test } from "node:test";

import * as address from "../../service/static/address.js";
import { SIDE, decode, encode, simplify } from "../../service/static/drawing.js";

/** @typedef {import("../../service/static/drawing.js").Stroke} Stroke */

/** @type {Stroke[]} */
const SEVEN = [
  [
    [200, 150],
    [800, 150],
    [440, 1000],
  ],
  [[0, 0]],
];

test("decoding returns the encoded strokes", () => {
  assert.deepEqual(decode(/** @type {string} */ (encode(SEVEN))), SEVEN);
});

test("points on a line are omitted, corners are kept", () => {
  /** @type {Stroke} */
  const stroke = [];
  for (let at = 0; at <= 100; at += 1) {
    stroke.push(at <= 50 ? [at * 10, 0] : [500, (at - 50) * 10]);
  }

  assert.deepEqual(simplify(stroke, 4), [
    [0, 0],
    [500, 0],
    [500, 500],
  ]);
});

test("omitted points are within the tolerance", () => {
  /** @type {Stroke} */
  const circle = Array.from({ length: 400 }, (_, i) => [500 + 400 * Math.cos(i / 64), 500 + 400 * Math.sin(i / 64)]);

  const kept = simplify(circle, 4);

  assert.ok(kept.length < 60);
  for (const [x, y] of circle) {
    const away = Math.min(
      ...kept.slice(1).map(([x2, y2], i) => {
        const [x1, y1] = kept[i];
        const length = (x2 - x1) ** 2 + (y2 - y1) ** 2;
        const along = Math.min(Math.max(((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length, 0), 1);
        return Math.hypot(x - x1 - along * (x2 - x1), y - y1 - along * (y2 - y1));
      }),
    );
    assert.ok(away <= 4, `${x}, ${y} is ${away} away`);
  }
});

test("a long drawing is simplified until it fits; one with too many strokes has no address", () => {
  /** @type {Stroke} */
  const scribble = Array.from({ length: 20000 }, (_, i) => [(i * 389) % SIDE, (i * 631) % SIDE]);

  assert.ok(/** @type {string} */ (encode([scribble])).length <= 8000);
  assert.equal(encode(Array.from({ length: 3000 }, () => [[1, 1]])), null);
});

for (const text of ["", "0", "00zz.", ".0000", "0000..0000", "00 0", "ABCD", "0".repeat(8004)]) {
  test(`invalid text: ${JSON.stringify(text.slice(0, 12))}`, () => {
    assert.equal(decode(text), null);
  });
}

test("coordinates outside the canvas are clamped", () => {
  assert.deepEqual(decode("zzzz"), [[[SIDE, SIDE]]]);
});

test("an address contains drawing, network and tab", () => {
  const place = { strokes: SEVEN, model: { name: "a b/c", version: "2" }, tab: "weights" };
  const plain = { strokes: SEVEN, model: { name: "mlp-128", version: "2" }, tab: null };

  assert.deepEqual(address.read(`#${address.write(plain)}`), plain);
  assert.deepEqual(address.read(`#${address.write(place)}`).strokes, SEVEN);
  assert.equal(address.write({ strokes: null, model: null, tab: null }), "");
  assert.deepEqual(address.read("#%&draw=!"), { strokes: null, model: null, tab: null });
});
