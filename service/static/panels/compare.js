/** Tab "Compare": predictions of every version of every digit network for the drawing. */

import * as api from "../api.js";
import { element, head, percent, scroller, setBarLength } from "../view.js";

/**
 * @typedef {import("../view.js").PageState} PageState
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
 * @property {boolean} isSelected
 * @property {api.Prediction | null} prediction
 */

/** Number of concurrent requests. */
const CONCURRENCY = 2;

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
      element("caption", { class: "unseen" }, "Predictions of every network for your drawing, from the smallest network to the largest"),
      head("Network", "Prediction", "Probability", "Sure", "0 to 9", "Use"),
      this.#body,
    );
    root.append(this.#verdict, scroller("Comparison of the networks", table));
  }

  /** @param {PageState} state */
  async show({ model, models, drawing, signal, choose }) {
    this.#choose = choose;
    this.#updateRows(models);
    for (const row of this.#rows) {
      const isSelected = row.model.name === model.name && row.model.version === model.version;
      row.isSelected = isSelected;
      row.row.classList.toggle("compare-chosen", isSelected);
      row.use.setAttribute("aria-pressed", String(isSelected));
      row.use.firstChild?.replaceWith(isSelected ? "in use" : "use");
      if (!drawing) {
        fill(row, null);
      }
    }
    if (!drawing) {
      this.#summarise("Draw a digit to compare the predictions of all networks.");
      return;
    }
    const waiting = [...this.#rows];
    const work = async () => {
      for (let row = waiting.shift(); row; row = waiting.shift()) {
        const prediction = await api.probabilities(row.model, drawing, {}, signal);
        if (signal.aborted) {
          return;
        }
        fill(row, prediction);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, work));
    if (!signal.aborted) {
      this.#summarise();
    }
  }

  /**
   * Create a row for every version, sorted by the number of parameters, unless they exist.
   * @param {Summary[]} models
   */
  #updateRows(models) {
    const versions = models
      .filter(api.acceptsDrawings)
      .sort((a, b) => a.parameters - b.parameters)
      .flatMap(({ name, labels, versions }) => versions.map((version) => ({ model: { name, version }, labels })));
    const key = (/** @type {{model: Model}[]} */ all) => all.map(({ model }) => `${model.name}/${model.version}`).join();
    if (key(versions) !== key(this.#rows)) {
      this.#rows = versions.map(({ model, labels }) => createRow(model, labels, () => this.#choose(model)));
      this.#body.replaceChildren(...this.#rows.map(({ row }) => row));
    }
  }

  /**
   * State and mark which versions disagree with the selected one.
   * @param {string} [hint]  Text to show if there are no predictions.
   */
  #summarise(hint) {
    const label = this.#rows.find(({ isSelected }) => isSelected)?.prediction?.label;
    const others = this.#rows.filter(({ prediction }) => prediction && prediction.label !== label);
    for (const row of this.#rows) {
      row.row.classList.toggle("compare-other", others.includes(row));
    }
    const differing = others.map(({ model, prediction }) => `${model.name} ${model.version} predicts ${prediction?.label}`);
    this.#verdict.textContent =
      hint ??
      (others.length
        ? `The selected network predicts ${label}, but ${differing.join(", ")}.`
        : `All ${this.#rows.length} networks predict ${label}.`);
  }
}

/**
 * @param {Model} model
 * @param {string[]} labels
 * @param {() => void} choose
 * @returns {Row}
 */
function createRow(model, labels, choose) {
  const digit = element("td", { class: "compare-digit" });
  const bar = element("span", { class: "bar" });
  const confidence = element("span", { class: "compare-number" });
  const sure = element("td");
  const bars = element("div", { class: "compare-bars", role: "img", "aria-label": "No prediction yet" }, ...labels.map(() => element("i")));
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
  return { model, row, digit, bar, confidence, sure, bars, use, isSelected: false, prediction: null };
}

/**
 * @param {Row} row
 * @param {(api.Prediction & {probabilities: number[]}) | null} prediction
 */
function fill(row, prediction) {
  row.prediction = prediction;
  row.digit.textContent = prediction?.label ?? "–";
  row.confidence.textContent = prediction ? percent(prediction.confidence) : "";
  row.sure.textContent = prediction?.sure === undefined ? "no threshold" : prediction.sure ? "yes" : "no";
  row.sure.classList.toggle("hint", prediction?.sure === undefined);
  setBarLength(row.bar, prediction?.confidence ?? 0);
  for (const [i, bar] of [...row.bars.children].entries()) {
    setBarLength(/** @type {HTMLElement} */ (bar), prediction?.probabilities[i] ?? 0);
  }
  row.bars.setAttribute("aria-label", prediction ? prediction.probabilities.map((p, i) => `${i}: ${percent(p)}`).join(", ") : "No prediction yet");
}
