import assert from "node:assert/strict";
import { test } from "node:test";

import { boxOnCanvas, text, verdict } from "../../service/static/number.js";

/** @typedef {import("../../service/static/api.js").ReadDigit} ReadDigit */

/**
 * @param {string} label
 * @param {Partial<ReadDigit>} [more]
 * @returns {ReadDigit}
 */
const digit = (label, more = {}) => ({ label, index: Number(label), confidence: 0.99, sure: true, box: [0, 0, 1, 1], ...more });

const TWO_LINES = { text: "31\n7", confidence: 0.97, digits: [digit("3"), digit("1"), digit("7")] };

test("corrections replace digits and keep the lines", () => {
  assert.equal(text(TWO_LINES, new Map()), "31\n7");
  assert.equal(text(TWO_LINES, new Map([[1, "4"], [2, "2"]])), "34\n2");
});

test("labels may have several characters", () => {
  const reading = { text: "ten1", digits: [{ label: "ten" }, { label: "1" }] };

  assert.equal(text(reading, new Map([[0, "six"]])), "six1");
});

test("the verdict names the confidence, doubtful digits and corrections", () => {
  assert.equal(verdict(TWO_LINES, 0), "3 digits, 97.0 % that all are right");
  assert.equal(verdict(TWO_LINES, 2), "3 digits, 2 corrected");
  const doubtful = { ...TWO_LINES, digits: [digit("3", { sure: false }), digit("1", { confidence: 0.5 }), digit("7")] };
  assert.match(verdict(doubtful, 0), /2 of them doubtful$/);
});

test("boxes are placed on the canvas, with the pen, and do not leave it", () => {
  assert.deepEqual(boxOnCanvas([100, 200, 300, 400], { scale: 1, offset: [0, 0], margin: 20 }), [80, 180, 320, 420]);
  assert.deepEqual(boxOnCanvas([0, 0, 200, 100], { scale: 5, offset: [0, 250], margin: 0 }), [0, 250, 1000, 750]);
  assert.deepEqual(boxOnCanvas([0, 5, 1000, 999], { scale: 1, offset: [0, 0], margin: 30 }), [0, 0, 1000, 1000]);
});
