/** A confusion matrix whose cells say in words what they mean. */

import { count, element, percent, scroller, stretch } from "../view.js";

/**
 * @typedef {object} Confusion
 * @property {string} data
 * @property {string} split
 * @property {number[]} seeds
 * @property {number[][]} counts  One row a class, one column an answer.
 * @property {{truth: string, answer: string, count: number}[]} confused
 */

const DIGITS = ["zeros", "ones", "twos", "threes", "fours", "fives", "sixes", "sevens", "eights", "nines"];

/** Shows one matrix after another. */
export class ConfusionTable {
  /** Everything there is to see. */
  root = element("div", { class: "report-confusion" });

  #labels;
  #words = element("p", { class: "report-words", role: "status" });

  /** @type {HTMLButtonElement[][]} */
  #buttons = [];

  /** @param {string[]} labels */
  constructor(labels) {
    this.#labels = labels;
  }

  /** @param {Confusion} matrix */
  show({ data, split, seeds, counts, confused }) {
    const most = Math.max(1, ...counts.flatMap((row, i) => row.filter((_, j) => i !== j)));
    this.#buttons = counts.map((row, truth) => row.map((_, answer) => this.#cell(counts, truth, answer, most)));
    const corner = element("td", {}, element("span", { class: "hint" }, "is ↓ read as →"));
    const columns = this.#labels.map((label) => element("th", { scope: "col" }, element("span", {}, label)));
    const rows = this.#buttons.map((row, truth) =>
      element("tr", {}, element("th", { scope: "row" }, this.#labels[truth]), ...row.map((button) => element("td", {}, button))),
    );
    const fits = seeds.length > 1 ? `, ${seeds.length} fits added up` : "";
    const table = element(
      "table",
      { class: `report-matrix ${this.#labels.some((label) => label.length > 2) ? "report-long" : ""}`, keydown: (event) => this.#key(event) },
      element("caption", {}, `${data}, ${split}${fits}: rows are what the images show, columns what was read`),
      element("thead", {}, element("tr", {}, corner, ...columns)),
      element("tbody", {}, ...rows),
    );
    this.#buttons[0][0].tabIndex = 0;
    this.#words.textContent = "Press a cell to see what it means; arrow keys go from cell to cell.";
    const pairs = confused.map(({ truth, answer, count: times }) => element("li", {}, `${truth} read as ${answer}: ${count(times)}`));
    this.root.replaceChildren(
      scroller("Confusion matrix", table),
      this.#words,
      element("div", {}, element("h4", {}, "Most often confused"), pairs.length ? element("ol", {}, ...pairs) : "Nothing was."),
    );
  }

  /**
   * @param {number[][]} counts
   * @param {number} truth
   * @param {number} answer
   * @param {number} most  Frequent mistake.
   */
  #cell(counts, truth, answer, most) {
    const times = counts[truth][answer];
    const all = counts[truth].reduce((sum, value) => sum + value, 0);
    const isRight = truth === answer;
    const button = element(
      "button",
      {
        type: "button",
        tabindex: -1,
        class: isRight ? "report-right" : "report-wrong",
        "aria-label": `${this.#labels[truth]} read as ${this.#labels[answer]}: ${times}`,
        click: () => {
          const how = isRight ? "rightly" : `as ${this.#labels[answer]}`;
          const was = times === 1 ? "was" : "were";
          const share = all ? ` (${percent(times / all)})` : "";
          this.#words.textContent = `Of ${count(all)} ${this.#many(truth)} ${count(times)} ${was} read ${how}${share}.`;
          this.#mark(truth, answer);
        },
      },
      times ? String(times) : "·",
    );
    stretch(button, isRight ? (all ? times / all : 0) : Math.sqrt(times / most)); // so that rare mistakes are seen too
    return button;
  }

  /** @param {number} truth */
  #many(truth) {
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
