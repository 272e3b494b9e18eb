/** The network's input, overlaid with each pixel's share in the logit of one class. */

import { paintInput, paintShares } from "./view.js";

/**
 * @typedef {import("./api.js").Explanation} Explanation
 * @typedef {import("./api.js").Palette} Palette
 */

/** Shows explanations. */
export class NetworkInputView {
  #frame;
  #input;
  #shares;
  #reason;

  /** @type {Explanation | null} */
  #shown = null;

  /**
   * @param {HTMLElement} frame  Contains both canvases; one image for screen readers.
   * @param {HTMLCanvasElement} input
   * @param {HTMLCanvasElement} shares
   * @param {HTMLElement} reason
   */
  constructor(frame, input, shares, reason) {
    this.#frame = frame;
    this.#input = input;
    this.#shares = shares;
    this.#reason = reason;
  }

  /**
   * Show an explanation, or the last one in another way.
   * @param {boolean} showsShares  Whether to show the shares.
   * @param {Palette} palette
   * @param {Explanation | null} explanation  By default the last one.
   */
  show(showsShares, palette, explanation = this.#shown) {
    this.#shown = explanation;
    this.#shares.hidden = !showsShares || !explanation;
    if (!explanation) {
      return;
    }
    paintInput(this.#input, explanation.seen);
    paintShares(this.#shares, explanation.shares, palette);
    const [plus, minus] = palette === "lesson" ? ["Green", "purple"] : ["Blue", "orange"];
    const sum = describeSum(explanation);
    const { explained } = explanation;
    this.#reason.textContent = showsShares
      ? `${plus} supports ${explained}, ${minus} opposes it. ${sum}`
      : "The drawing in 28 x 28 pixels.";
    this.#frame.setAttribute("aria-label", `The drawing in 28 x 28 pixels. ${showsShares ? sum : ""}`);
  }

  /** Show that nothing is drawn. */
  clear() {
    this.#shown = null;
    this.#shares.hidden = true;
    this.#input.getContext("2d")?.clearRect(0, 0, this.#input.width, this.#input.height);
    this.#frame.setAttribute("aria-label", "Nothing yet");
    this.#reason.textContent = "The drawing in 28 x 28 pixels, and each pixel's share in the logit.";
  }
}

/**
 * Return the sum of the shares in words.
 * @param {Explanation} explanation
 */
function describeSum({ explained, logit, bias, shares }) {
  const all = shares.flat();
  const sum = (/** @type {number} */ sign) =>
    all.reduce((/** @type {number} */ total, /** @type {number} */ share) => total + Math.max(sign * share, 0), 0);
  const [plus, minus] = [sum(1), sum(-1)].map((value) => value.toFixed(1));
  const signed = `${bias < 0 ? "−" : "+"} ${Math.abs(bias).toFixed(1)}`;
  return `${plus} support − ${minus} opposition ${signed} bias = ${logit.toFixed(1).replace("-", "−")}, the logit of ${explained}.`;
}
