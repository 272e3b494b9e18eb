/** State of the page in its address, after the `#`, so that a link shows the same. */

import { decode, encode } from "./drawing.js";

/**
 * @typedef {object} AddressState  State in an address; null stands for the default.
 * @property {import("./drawing.js").Stroke[] | null} strokes
 * @property {import("./api.js").Model | null} model
 * @property {string | null} tab
 */

/**
 * Return the part of an address after its `#`.
 * @param {AddressState} state
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
 * Parse the part of an address after its `#`; invalid values are ignored.
 * @param {string} hash
 * @returns {AddressState}
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
