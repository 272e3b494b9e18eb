/** What the network sees, and over it each pixel's share in one class's logit. */

import { paintSeen, paintShares } from "./view.js";

/**
 * @typedef {import("./api.js").Explanation} Explanation
 * @typedef {import("./api.js").Palette} Palette
 */

/** Shows one explanation after another. */
export class SightView {
  #frame;
  #seen;
  #shares;
  #reason;

  /** @type {Explanation | null} */
  #shown = null;

  /**
   * @param {HTMLElement} frame  Holds both canvases; told to screen readers as one picture.
   * @param {HTMLCanvasElement} seen
   * @param {HTMLCanvasElement} shares
   * @param {HTMLElement} reason
   */
  constructor(frame, seen, shares, reason) {
    this.#frame = frame;
    this.#seen = seen;
    this.#shares = shares;
    this.#reason = reason;
  }

  /**
   * Show an explanation, or the last one differently.
   * @param {boolean} why  Whether to show the shares.
   * @param {Palette} palette
   * @param {Explanation | null} explanation  Nothing for the last one.
   */
  show(why, palette, explanation = this.#shown) {
    this.#shown = explanation;
    this.#shares.hidden = !why || !explanation;
    if (!explanation) {
      return;
    }
    paintSeen(this.#seen, explanation.seen);
    paintShares(this.#shares, explanation.shares, palette);
    const [plus, minus] = palette === "lesson" ? ["Green", "purple"] : ["Blue", "orange"];
    const [words, sum] = reason(explanation);
    this.#reason.textContent = why ? `${plus} ${words}, ${minus} against it. ${sum}` : "The drawing in 28 x 28 pixels.";
    this.#frame.setAttribute("aria-label", `The drawing in 28 x 28 pixels. ${why ? sum : ""}`);
  }

  /** Show that nothing is seen. */
  clear() {
    this.#shown = null;
    this.#shares.hidden = true;
    this.#seen.getContext("2d")?.clearRect(0, 0, this.#seen.width, this.#seen.height);
    this.#frame.setAttribute("aria-label", "Nothing yet");
    this.#reason.textContent = "The drawing in 28 x 28 pixels, and each pixel's share in the answer.";
  }
}

/**
 * Say in words what the shares add up to.
 * @param {Explanation} explanation
 * @returns {[string, string]}
 */
function reason({ explained, logit, bias, shares }) {
  const all = shares.flat();
  const sum = (/** @type {number} */ sign) =>
    all.reduce((/** @type {number} */ total, /** @type {number} */ share) => total + Math.max(sign * share, 0), 0);
  const [plus, minus] = [sum(1), sum(-1)].map((value) => value.toFixed(1));
  const signed = `${bias < 0 ? "−" : "+"} ${Math.abs(bias).toFixed(1)}`;
  return [
    `speaks for ${explained}`,
    `${plus} for − ${minus} against ${signed} bias = ${logit.toFixed(1).replace("-", "−")}, the logit of ${explained}.`,
  ];
}
