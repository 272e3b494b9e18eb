/** The answer: the digit, how sure the network is, and a bar for every class. */

import { element, percent, stretch } from "./view.js";

/**
 * @typedef {import("./api.js").Answer} Answer
 *
 * @typedef {object} Bar
 * @property {HTMLButtonElement} button
 * @property {HTMLElement} bar
 * @property {HTMLElement} number
 */

/** An answer below this is called not sure. The networks are calibrated: one such answer in five or more is wrong. */
const DOUBT = 0.8;

/** Shows one answer after another. Event: `choose`, with a class's label as `detail`, when somebody presses its bar. */
export class AnswerView extends EventTarget {
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
   * Make a bar for every class.
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
   * Show an answer.
   * @param {Answer} answer
   * @param {Map<string, number>} probabilities  By label.
   */
  show(answer, probabilities) {
    this.#digit.textContent = answer.label;
    this.#verdict.textContent = verdict(answer, probabilities);
    this.#digit.classList.toggle("doubtful", answer.sure === false || answer.confidence < DOUBT);
    for (const [label, { button, bar, number }] of this.#bars) {
      const probability = probabilities.get(label) ?? 0;
      stretch(bar, probability);
      number.textContent = percent(probability);
      button.classList.toggle("likeliest", label === answer.label);
    }
  }

  /**
   * Show that there is no answer.
   * @param {string} words  Why.
   */
  clear(words) {
    this.#digit.textContent = "?";
    this.#digit.classList.remove("doubtful");
    this.#verdict.textContent = words;
    for (const { button, bar, number } of this.#bars.values()) {
      stretch(bar, 0);
      number.textContent = "";
      button.classList.remove("likeliest");
    }
  }

  /**
   * Mark the class that the shares are of.
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
 * Say in words how sure the network is.
 * @param {Answer} answer
 * @param {Map<string, number>} probabilities
 */
export function verdict(answer, probabilities) {
  if (answer.sure === false) {
    return `Perhaps not a digit: it has not seen the like. If it is one, a ${answer.label}.`;
  }
  if (answer.confidence < DOUBT) {
    const [first, second] = [...probabilities].sort((a, b) => b[1] - a[1]).map(([label]) => label);
    return `Not sure: ${first} or ${second}`;
  }
  return `${percent(answer.confidence)}${answer.sure ? ", sure" : ""}`;
}
