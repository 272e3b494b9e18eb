/** Confusion matrix; pressing a cell shows its meaning in words. */

import { count, element, percent, scroller, setBarLength } from "../view.js";

/**
 * @typedef {object} Confusion
 * @property {string} data
 * @property {string} split
 * @property {number[]} seeds
 * @property {number[][]} counts  One row per true class, one column per predicted class.
 * @property {{truth: string, answer: string, count: number}[]} confused
 */

const DIGITS = ["zeros", "ones", "twos", "threes", "fours", "fives", "sixes", "sevens", "eights", "nines"];

/** Shows confusion matrices. */
export class ConfusionTable {
  /** Element that contains everything. */
  root = element("div", { class: "report-confusion" });

  #labels;
  #meaning = element("p", { class: "report-words", role: "status" });

  /** @type {HTMLButtonElement[][]} */
  #buttons = [];

  /** @param {string[]} labels */
  constructor(labels) {
    this.#labels = labels;
  }

  /** @param {Confusion} matrix */
  show({ data, split, seeds, counts, confused }) {
    const largest = Math.max(1, ...counts.flatMap((row, i) => row.filter((_, j) => i !== j)));
    this.#buttons = counts.map((row, truth) => row.map((_, answer) => this.#cell(counts, truth, answer, largest)));
    const corner = element("td", {}, element("span", { class: "hint" }, "true ↓ predicted →"));
    const columns = this.#labels.map((label) => element("th", { scope: "col" }, element("span", {}, label)));
    const rows = this.#buttons.map((row, truth) =>
      element("tr", {}, element("th", { scope: "row" }, this.#labels[truth]), ...row.map((button) => element("td", {}, button))),
    );
    const fits = seeds.length > 1 ? `, sum of ${seeds.length} fits` : "";
    const table = element(
      "table",
      { class: `report-matrix ${this.#labels.some((label) => label.length > 2) ? "report-long" : ""}`, keydown: (event) => this.#key(event) },
      element("caption", {}, `${data}, ${split}${fits}: rows are true classes, columns predictions`),
      element("thead", {}, element("tr", {}, corner, ...columns)),
      element("tbody", {}, ...rows),
    );
    this.#buttons[0][0].tabIndex = 0;
    this.#meaning.textContent = "Press a cell to see its meaning; arrow keys move between cells.";
    const pairs = confused.map(({ truth, answer, count: times }) => element("li", {}, `${truth} predicted as ${answer}: ${count(times)}`));
    this.root.replaceChildren(
      scroller("Confusion matrix", table),
      this.#meaning,
      element("div", {}, element("h4", {}, "Most often confused"), pairs.length ? element("ol", {}, ...pairs) : "None."),
    );
  }

  /**
   * @param {number[][]} counts
   * @param {number} truth
   * @param {number} answer
   * @param {number} largest  Count of the most frequent mistake.
   */
  #cell(counts, truth, answer, largest) {
    const times = counts[truth][answer];
    const all = counts[truth].reduce((sum, value) => sum + value, 0);
    const isCorrect = truth === answer;
    const button = element(
      "button",
      {
        type: "button",
        tabindex: -1,
        class: isCorrect ? "report-right" : "report-wrong",
        "aria-label": `${this.#labels[truth]} predicted as ${this.#labels[answer]}: ${times}`,
        click: () => {
          const how = isCorrect ? "correctly" : `as ${this.#labels[answer]}`;
          const was = times === 1 ? "was" : "were";
          const share = all ? ` (${percent(times / all)})` : "";
          this.#meaning.textContent = `Of ${count(all)} ${this.#plural(truth)}, ${count(times)} ${was} predicted ${how}${share}.`;
          this.#mark(truth, answer);
        },
      },
      times ? String(times) : "·",
    );
    setBarLength(button, isCorrect ? (all ? times / all : 0) : Math.sqrt(times / largest)); // so that rare mistakes are visible too
    return button;
  }

  /** @param {number} truth */
  #plural(truth) {
    const label = this.#labels[truth];
    return /^\d$/.test(label) ? DIGITS[Number(label)] : `photographs of ${label}`;
  }

  /**
   * @param {number} truth
   * @param {number} answer
   */
  #mark(truth, answer) {
    for (const [i, row] of this.#buttons.entries()) {
      for (const [j, button] of row.entries()) {
        button.tabIndex = i === truth && j === answer ? 0 : -1;
        button.setAttribute("aria-pressed", String(i === truth && j === answer));
      }
    }
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [0, 0];
    const truth = this.#buttons.findIndex((row) => row.some((button) => button === event.target));
    const answer = this.#buttons[truth]?.findIndex((button) => button === event.target) ?? -1;
    const next = this.#buttons[truth + down]?.[answer + right];
    if (next && (down || right)) {
      event.preventDefault();
      next.focus();
    }
  }
}
