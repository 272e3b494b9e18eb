/** Compare: the same drawing through every version of every network for digits. */

import * as api from "../api.js";
import { element, head, percent, scroller, stretch } from "../view.js";

/**
 * @typedef {import("../view.js").Shown} Shown
 * @typedef {import("../view.js").Summary} Summary
 * @typedef {import("../view.js").Model} Model
 *
 * @typedef {object} Row
 * @property {Model} model
 * @property {HTMLElement} row
 * @property {HTMLElement} digit
 * @property {HTMLElement} bar
 * @property {HTMLElement} confidence
 * @property {HTMLElement} sure
 * @property {HTMLElement} bars
 * @property {HTMLButtonElement} use
 * @property {boolean} isChosen
 * @property {api.Answer | null} answer
 */

/** How many answers to wait for at once. */
const AT_ONCE = 2;

/** The tab "Compare". */
export class ComparePanel {
  #verdict = element("p", { class: "compare-verdict" });
  #body = element("tbody");

  /** @type {Row[]} */
  #rows = [];

  /** @type {(model: Model) => void} */
  #choose = () => {};

  /** @param {HTMLElement} root */
  constructor(root) {
    const table = element(
      "table",
      { class: "compare-table" },
      element("caption", { class: "unseen" }, "Your drawing through every network, from the simplest to the strongest"),
      head("Network", "Reads", "How likely", "Knows the like", "0 to 9", "Use"),
      this.#body,
    );
    root.append(this.#verdict, scroller("Comparison of the networks", table));
  }

  /** @param {Shown} shown */
  async show({ model, models, drawing, signal, choose }) {
    this.#choose = choose;
    this.#list(models);
    for (const row of this.#rows) {
      const isChosen = row.model.name === model.name && row.model.version === model.version;
      row.isChosen = isChosen;
      row.row.classList.toggle("compare-chosen", isChosen);
      row.use.setAttribute("aria-pressed", String(isChosen));
      row.use.firstChild?.replaceWith(isChosen ? "in use" : "use");
      if (!drawing) {
        fill(row, null);
      }
    }
    if (!drawing) {
      this.#judge("Draw something, and every network says what it reads.");
      return;
    }
    const waiting = [...this.#rows];
    const ask = async () => {
      for (let row = waiting.shift(); row; row = waiting.shift()) {
        const answer = await api.probabilities(row.model, drawing, {}, signal);
        if (signal.aborted) {
          return;
        }
        fill(row, answer);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, ask));
    if (!signal.aborted) {
      this.#judge();
    }
  }

  /**
   * Make a row for every version, simple ones first, unless they are there.
   * @param {Summary[]} models
   */
  #list(models) {
    const versions = models
      .filter(({ input }) => input.join() === "28,28")
      .sort((a, b) => a.parameters - b.parameters)
      .flatMap(({ name, labels, versions }) => versions.map((version) => ({ model: { name, version }, labels })));
    const key = (/** @type {{model: Model}[]} */ all) => all.map(({ model }) => `${model.name}/${model.version}`).join();
    if (key(versions) !== key(this.#rows)) {
      this.#rows = versions.map(({ model, labels }) => make(model, labels, () => this.#choose(model)));
      this.#body.replaceChildren(...this.#rows.map(({ row }) => row));
    }
  }

  /**
   * Say and mark who disagrees with the chosen version.
   * @param {string} [nothing]  What to say without answers.
   */
  #judge(nothing) {
    const chosen = this.#rows.find(({ isChosen }) => isChosen)?.answer?.label;
    const others = this.#rows.filter(({ answer }) => answer && answer.label !== chosen);
    for (const row of this.#rows) {
      row.row.classList.toggle("compare-other", others.includes(row));
    }
    const words = others.map(({ model, answer }) => `${model.name} ${model.version} a ${answer?.label}`);
    this.#verdict.textContent =
      nothing ?? (others.length ? `The chosen one reads a ${chosen}, but ${words.join(", ")}.` : `All ${this.#rows.length} read a ${chosen}.`);
  }
}

/**
 * @param {Model} model
 * @param {string[]} labels
 * @param {() => void} choose
 * @returns {Row}
 */
function make(model, labels, choose) {
  const digit = element("td", { class: "compare-digit" });
  const bar = element("span", { class: "bar" });
  const confidence = element("span", { class: "compare-number" });
  const sure = element("td");
  const bars = element("div", { class: "compare-bars", role: "img", "aria-label": "No answer yet" }, ...labels.map(() => element("i")));
  const name = `${model.name} ${model.version}`;
  const use = element("button", { type: "button", click: choose }, "use", element("span", { class: "unseen" }, ` ${name}`));
  const row = element(
    "tr",
    {},
    element("th", { scope: "row" }, name),
    digit,
    element("td", {}, element("div", { class: "compare-likely" }, element("div", { class: "track" }, bar), confidence)),
    sure,
    element("td", {}, bars),
    element("td", {}, use),
  );
  return { model, row, digit, bar, confidence, sure, bars, use, isChosen: false, answer: null };
}

/**
 * @param {Row} row
 * @param {(api.Answer & {probabilities: number[]}) | null} answer
 */
function fill(row, answer) {
  row.answer = answer;
  row.digit.textContent = answer?.label ?? "–";
  row.confidence.textContent = answer ? percent(answer.confidence) : "";
  row.sure.textContent = answer?.sure === undefined ? "does not say" : answer.sure ? "yes" : "no";
  row.sure.classList.toggle("hint", answer?.sure === undefined);
  stretch(row.bar, answer?.confidence ?? 0);
  for (const [i, bar] of [...row.bars.children].entries()) {
    stretch(/** @type {HTMLElement} */ (bar), answer?.probabilities[i] ?? 0);
  }
  row.bars.setAttribute("aria-label", answer ? answer.probabilities.map((p, i) => `${i}: ${percent(p)}`).join(", ") : "nothing yet");
}
