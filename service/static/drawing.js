/**
 * Drawings as data, and as a part of an address.
 *
 * @typedef {[number, number]} Point  x to the right and y downwards, 0 to `SIDE`.
 * @typedef {Point[]} Stroke
 * @typedef {{strokes: Stroke[]} | {picture: Blob}} Drawing  What the service is asked about.
 */

/** Width and height of the paper, in its own units, however large it is on the screen. */
export const SIDE = 1000;

/** How far a shared stroke may lie from the drawn one, in the paper's units: less than a pixel of the network's. */
const TOLERANCE = 4;

/** What an address may hold at most; browsers and messengers cut longer ones. */
const LONGEST = 8000;

const DIGITS = 2; // of base 36 for one coordinate: up to 1295

/**
 * Write strokes as text for an address: four characters a point, strokes parted by dots.
 *
 * Points that lie on the line between their neighbours are left out, up to a tolerance which grows until the
 * text is short enough.
 *
 * @param {Stroke[]} strokes
 * @returns {string | null}  Nothing if there are too many strokes.
 */
export function encode(strokes) {
  for (let tolerance = TOLERANCE; ; tolerance *= 2) {
    const text = strokes.map((stroke) => simplify(stroke, tolerance).map(encodePoint).join("")).join(".");
    if (text.length <= LONGEST) {
      return text;
    }
    if (tolerance > SIDE) {
      return null;
    }
  }
}

/**
 * Read strokes out of an address.
 *
 * @param {string} text  As `encode` wrote it.
 * @returns {Stroke[] | null}  Nothing if it is no drawing.
 */
export function decode(text) {
  if (text.length > LONGEST || !/^([0-9a-z]{4})+(\.([0-9a-z]{4})+)*$/.test(text)) {
    return null;
  }
  return text.split(".").map((stroke) => (stroke.match(/.{4}/g) ?? []).map(decodePoint));
}

/**
 * Leave out points that change a stroke by no more than a tolerance (Ramer, 1972; Douglas and Peucker, 1973).
 *
 * @param {Stroke} stroke
 * @param {number} tolerance  In the paper's units.
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
    let most = tolerance;
    for (let i = from + 1; i < to; i += 1) {
      const away = distance(stroke[i], stroke[from], stroke[to]);
      if (away > most) {
        [farthest, most] = [i, away];
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
 * Return how far a point lies from the line between two others.
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
