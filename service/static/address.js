/** The page's address: what it shows, so that it can be sent to somebody. */

import { decode, encode } from "./drawing.js";

/**
 * @typedef {object} Place  What an address holds; nothing stands for whatever is usual.
 * @property {import("./drawing.js").Stroke[] | null} strokes
 * @property {import("./api.js").Model | null} model
 * @property {string | null} tab
 */

/**
 * Write the part of an address behind its `#`.
 * @param {Place} place
 */
export function write({ strokes, model, tab }) {
  const parts = [
    strokes?.length ? `draw=${encode(strokes) ?? ""}` : "",
    model ? `model=${encodeURIComponent(model.name)}/${encodeURIComponent(model.version)}` : "",
    tab ? `tab=${encodeURIComponent(tab)}` : "",
  ];
  return parts.filter(Boolean).join("&");
}

/**
 * Read the part of an address behind its `#`; what cannot be read is left out.
 * @param {string} hash
 * @returns {Place}
 */
export function read(hash) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const [name, version] = parts.get("model")?.split("/") ?? [];
  return {
    strokes: decode(parts.get("draw") ?? ""),
    model: name && version ? { name, version } : null,
    tab: parts.get("tab"),
  };
}
