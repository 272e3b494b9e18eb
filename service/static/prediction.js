/** Prediction: the digit, its confidence in words, and a bar for every class. */

import { element, percent, setBarLength } from "./view.js";

/**
 * @typedef {import("./api.js").Prediction} Prediction
 *
 * @typedef {object} Bar
 * @property {HTMLButtonElement} button
 * @property {HTMLElement} bar
 * @property {HTMLElement} number
 */

/** Confidence below which a prediction is shown as not sure. The networks are calibrated: at least one such prediction in five is wrong. */
const LOW_CONFIDENCE = 0.8;

/** Length of a number from which on it is shown smaller. */
const MANY = 3;

/** Shows predictions. Event: `choose`, with a class's label as `detail`, when its bar is pressed. */
export class PredictionView extends EventTarget {
  #digit;
  #verdict;
  #list;

  /** @type {Map<string, Bar>} */
  #bars = new Map();

  /**
   * @param {HTMLElement} digit
   * @param {HTMLElement} verdict
   * @param {HTMLElement} list
   */
  constructor(digit, verdict, list) {
    super();
    this.#digit = digit;
    this.#verdict = verdict;
    this.#list = list;
  }

  /**
   * Create a bar for every class.
   * @param {string[]} labels
   */
  list(labels) {
    if (labels.join() === [...this.#bars.keys()].join()) {
      return;
    }
    this.#bars = new Map(labels.map((label) => [label, this.#bar(label)]));
    this.#list.replaceChildren(...[...this.#bars.values()].map(({ button }) => element("li", {}, button)));
  }

  /**
   * Show a prediction.
   * @param {Prediction} prediction
   * @param {Map<string, number>} probabilities  By label.
   */
  show(prediction, probabilities) {
    this.#digit.textContent = prediction.label;
    this.#digit.classList.remove("many");
    this.#verdict.textContent = verdict(prediction, probabilities);
    this.#digit.classList.toggle("doubtful", prediction.sure === false || prediction.confidence < LOW_CONFIDENCE);
    for (const [label, { button, bar, number }] of this.#bars) {
      const probability = probabilities.get(label) ?? 0;
      setBarLength(bar, probability);
      number.textContent = percent(probability);
      button.classList.toggle("likeliest", label === prediction.label);
    }
  }

  /**
   * Show a number of several digits.
   * @param {string} text
   * @param {string} verdict  Its confidence in words.
   */
  showNumber(text, verdict) {
    this.#digit.textContent = text;
    this.#digit.classList.remove("doubtful");
    this.#digit.classList.toggle("many", text.length > MANY);
    this.#verdict.textContent = verdict;
  }

  /**
   * Show that there is no prediction.
   * @param {string} reason
   */
  clear(reason) {
    this.#digit.textContent = "?";
    this.#digit.classList.remove("doubtful", "many");
    this.#verdict.textContent = reason;
    for (const { button, bar, number } of this.#bars.values()) {
      setBarLength(bar, 0);
      number.textContent = "";
      button.classList.remove("likeliest");
    }
  }

  /**
   * Mark the explained class.
   * @param {string | null} label
   */
  mark(label) {
    for (const [name, { button }] of this.#bars) {
      button.setAttribute("aria-pressed", String(name === label));
    }
  }

  /**
   * @param {string} label
   * @returns {Bar}
   */
  #bar(label) {
    const bar = element("span", { class: "bar" });
    const number = element("span", { class: "number" });
    const choose = () => this.dispatchEvent(new CustomEvent("choose", { detail: label }));
    const button = element(
      "button",
      { type: "button", "aria-pressed": "false", click: choose },
      element("span", { class: "label" }, label),
      element("span", { class: "track" }, bar),
      number,
    );
    return { button, bar, number };
  }
}

/**
 * Return the confidence in words.
 * @param {Prediction} prediction
 * @param {Map<string, number>} probabilities
 */
export function verdict(prediction, probabilities) {
  if (prediction.several) {
    return "Several digits, which cannot be read as a number.";
  }
  if (prediction.sure === false) {
    return `Perhaps not a digit: it resembles no training image. If it is a digit, a ${prediction.label}.`;
  }
  if (prediction.confidence < LOW_CONFIDENCE) {
    const [first, second] = [...probabilities].sort((a, b) => b[1] - a[1]).map(([label]) => label);
    return `Not sure: ${first} or ${second}`;
  }
  return `${percent(prediction.confidence)}${prediction.sure ? ", sure" : ""}`;
}
