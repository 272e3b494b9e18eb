/**
 * Drawings as data, and their encoding in an address.
 *
 * @typedef {[number, number]} Point  x to the right and y downwards, 0 to `SIDE`.
 * @typedef {Point[]} Stroke
 * @typedef {{strokes: Stroke[]} | {picture: Blob}} Drawing  Strokes, or an image file.
 */

/** Width and height of the canvas in its own units, independent of its size on the screen. */
export const SIDE = 1000;

/** Largest deviation of an encoded stroke from the drawn one, in canvas units: less than a pixel of the network's input. */
const TOLERANCE = 4;

/** Maximum length of an encoded drawing; browsers and messengers truncate longer addresses. */
const MAX_LENGTH = 8000;

const DIGITS = 2; // in base 36 for one coordinate: up to 1295

/**
 * Encode strokes as text for an address: four characters per point, strokes separated by dots.
 *
 * Points on the line between their neighbours are omitted, up to a tolerance that grows until the text is short
 * enough.
 *
 * @param {Stroke[]} strokes
 * @returns {string | null}  Null if there are too many strokes.
 */
export function encode(strokes) {
  for (let tolerance = TOLERANCE; ; tolerance *= 2) {
    const text = strokes.map((stroke) => simplify(stroke, tolerance).map(encodePoint).join("")).join(".");
    if (text.length <= MAX_LENGTH) {
      return text;
    }
    if (tolerance > SIDE) {
      return null;
    }
  }
}

/**
 * Decode strokes from an address.
 *
 * @param {string} text  As returned by `encode`.
 * @returns {Stroke[] | null}  Null if the text is invalid.
 */
export function decode(text) {
  if (text.length > MAX_LENGTH || !/^([0-9a-z]{4})+(\.([0-9a-z]{4})+)*$/.test(text)) {
    return null;
  }
  return text.split(".").map((stroke) => (stroke.match(/.{4}/g) ?? []).map(decodePoint));
}

/**
 * Simplify a stroke: omit points that change it by no more than a tolerance (Ramer, 1972; Douglas and Peucker, 1973).
 *
 * @param {Stroke} stroke
 * @param {number} tolerance  In canvas units.
 * @returns {Stroke}
 */
export function simplify(stroke, tolerance) {
  const last = stroke.length - 1;
  if (last < 2) {
    return stroke;
  }
  const kept = new Set([0, last]);
  const parts = [[0, last]];
  while (parts.length) {
    const [from, to] = /** @type {[number, number]} */ (parts.pop());
    let farthest = 0;
    let largest = tolerance;
    for (let i = from + 1; i < to; i += 1) {
      const deviation = distance(stroke[i], stroke[from], stroke[to]);
      if (deviation > largest) {
        [farthest, largest] = [i, deviation];
      }
    }
    if (farthest) {
      kept.add(farthest);
      parts.push([from, farthest], [farthest, to]);
    }
  }
  return stroke.filter((_, i) => kept.has(i));
}

/**
 * Return the distance of a point from the segment between two others.
 * @param {Point} point
 * @param {Point} from
 * @param {Point} to
 */
function distance([x, y], [x1, y1], [x2, y2]) {
  const [dx, dy] = [x2 - x1, y2 - y1];
  const length = dx * dx + dy * dy;
  const along = length ? Math.min(Math.max(((x - x1) * dx + (y - y1) * dy) / length, 0), 1) : 0;
  return Math.hypot(x - x1 - along * dx, y - y1 - along * dy);
}

/** @param {Point} point */
function encodePoint(point) {
  return point.map((value) => Math.round(value).toString(36).padStart(DIGITS, "0")).join("");
}

/**
 * @param {string} text
 * @returns {Point}
 */
function decodePoint(text) {
  const [x, y] = [text.slice(0, DIGITS), text.slice(DIGITS)].map((part) => Math.min(Number.parseInt(part, 36), SIDE));
  return [x, y];
}
