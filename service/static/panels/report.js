/** Tab "Report": the trainer's evaluation of a published network. */

import * as api from "../api.js";
import { count, element, head, percent, scroller } from "../view.js";
import { ConfusionTable } from "./confusion.js";

/**
 * @typedef {import("../view.js").PageState} PageState
 * @typedef {import("../api.js").Model} Model
 * @typedef {{row: number, probability: number, answer: string}} Seen
 */

/** Charts that the panel shows as tables instead. */
const TABLES = /^(summary|confusion)/;

/** Number of typical and of difficult images listed per class. */
const EXAMPLES = 3;

/** The tab "Report". */
export class ReportPanel {
  #select = element("select", { change: () => this.#last?.refresh() });
  #status = element("p", { class: "hint", role: "status" });
  #content = element("div", { class: "report-content" });
  #shown = "";

  /** @type {PageState | null} */
  #last = null;

  /** @param {HTMLElement} root */
  constructor(root) {
    const label = element("label", { class: "report-choice" }, "Report of ", this.#select);
    root.append(label, this.#status, this.#content);
  }

  /** @param {PageState} state */
  async show(state) {
    this.#last = state;
    this.#list(state);
    const [name, version] = (this.#select.value || `${state.model.name}/${state.model.version}`).split("/");
    if (this.#shown === `${name}/${version}`) {
      return;
    }
    try {
      const report = await api.report({ name, version }, state.signal);
      const content = await write(report);
      if (state.signal.aborted) {
        return;
      }
      this.#content.replaceChildren(...content);
      this.#status.textContent = "";
    } catch (error) {
      if (!(error instanceof api.ApiError) || error.status >= 500 || state.signal.aborted) {
        throw error;
      }
      this.#content.replaceChildren();
      this.#status.textContent = `No report of ${name} ${version}: ${error.message}`;
    }
    this.#shown = `${name}/${version}`;
  }

  /** @param {PageState} state */
  #list({ model, models }) {
    const others = models.filter((other) => !api.acceptsDrawings(other));
    const wanted = this.#select.value;
    this.#select.replaceChildren(
      element("option", { value: "" }, `${model.name} ${model.version}, the selected network`),
      ...others.flatMap(({ name, preprocessing, versions }) =>
        versions.map((version) =>
          element(
            "option",
            { value: `${name}/${version}` },
            `${name} ${version}, ${preprocessing === "resize" ? "photographs" : "numbers"}`,
          ),
        ),
      ),
    );
    this.#select.value = wanted;
  }

}

/**
 * @param {any} report
 * @returns {Promise<Node[]>}
 */
async function write(report) {
  const pictures = report.pictures.filter((/** @type {any} */ { name }) => !TABLES.test(name)).map(draw);
  await Promise.allSettled(pictures.map((/** @type {{image: HTMLImageElement}} */ { image }) => image.decode()));
  for (const { image } of pictures) {
    image.width = image.naturalWidth;
    image.height = image.naturalHeight;
  }
  return [
    section("Layers", layers(report)),
    section("Accuracy", ...accuracy(report)),
    confusion(report),
    section("Charts", element("div", { class: "report-pictures" }, ...pictures.map((/** @type {any} */ { figure }) => figure))),
    ...report.notes.map((/** @type {string} */ note) => element("p", { class: "hint" }, note)),
  ];
}

/**
 * @param {string} title
 * @param {...Node} children
 */
function section(title, ...children) {
  return element("section", { class: "report-section" }, element("h3", {}, title), ...children);
}

/** @param {any} picture */
function draw({ title, light, dark }) {
  const image = element("img", { src: light, alt: title });
  const picture = element("picture", {}, element("source", { srcset: dark, media: "(prefers-color-scheme: dark)" }), image);
  return { image, figure: element("figure", {}, picture, element("figcaption", { class: "hint" }, title)) };
}

/** @param {any} report */
function layers({ layers, parameters, model, version }) {
  const rows = layers.map((/** @type {any} */ { name, shape: [inputs, units], activation, parameters: own }) =>
    row(name, count(inputs), count(units), activation, count(own)),
  );
  const total = element(
    "tfoot",
    {},
    element("tr", {}, element("th", { scope: "row", colspan: 4 }, "Total"), element("td", {}, count(parameters))),
  );
  return table(`Layers of ${model} ${version}`, head("Layer", "Inputs", "Units", "Activation", "Parameters"), body(rows), total);
}

/**
 * Create the tables of accuracies. The first two data sets are visible, the others can be expanded.
 * @param {any} report
 */
function accuracy({ accuracy, calibration, lesson }) {
  /** @type {Map<string, HTMLElement[]>} */
  const rows = new Map();
  const hasLesson = Object.keys(lesson).length > 0;
  for (const { fit, data, split, examples, seeds, accuracy: share, spread, loss, calibration_error: error } of accuracy) {
    const measured = calibration.find((/** @type {any} */ c) => c.fit === fit && c.data === data && c.split === split);
    const off = error ?? measured?.error;
    const cells = [
      { published: "this network", lesson: "the lesson's split", "held-out": "held-out writers" }[String(fit)] ?? fit,
      count(examples) + (seeds.length > 1 ? `, ${seeds.length} fits` : ""),
      `${(share * 100).toFixed(2)} %` + (spread === null ? "" : ` ± ${(spread * 100).toFixed(2)}`),
      ...(hasLesson ? [fit === "lesson" && lesson[split] ? `${(lesson[split] * 100).toFixed(2)} %` : ""] : []),
      loss.toFixed(3),
      off === undefined || off === null ? "" : percent(off),
    ];
    rows.set(data, [...(rows.get(data) ?? []), row(split, ...cells)]);
  }
  const names = head("Split", "Fit", "Images", "Accuracy", ...(hasLesson ? ["Lesson's figure"] : []), "Loss", "Calibration error");
  const tables = [...rows].map(([data, own]) => table(data, names.cloneNode(true), body(own)));
  const rest = tables.slice(2);
  const more = element("details", {}, element("summary", {}, `${rest.length} more tables, one per fit`), ...rest);
  return [...tables.slice(0, 2), ...(rest.length ? [more] : [])];
}

/** @param {any} report */
function confusion(report) {
  const found = new ConfusionTable(report.labels);
  const examples = element("div");
  const choice = element(
    "select",
    { change: () => show() },
    ...report.confusion.map((/** @type {any} */ { fit, split, examples }, /** @type {number} */ i) =>
      element("option", { value: i }, `${split}, ${count(examples)} images${fit === "lesson" ? ", the lesson's fits" : ""}`),
    ),
  );
  const show = () => {
    const matrix = report.confusion[Number(choice.value)];
    found.show(matrix);
    const own = report.extremes.filter((/** @type {any} */ e) => e.data === matrix.data && e.split === matrix.split);
    examples.replaceChildren(...extremes(report, own, matrix.split));
  };
  const test = report.confusion.findIndex((/** @type {any} */ { fit, split }) => fit === "published" && split === "test");
  choice.value = String(Math.max(test, 0));
  show();
  return section("Confusion matrix", element("label", { class: "report-choice" }, "Split ", choice), found.root, examples);
}

/**
 * @param {any} report
 * @param {{label: string, typical: Seen[], troublesome: Seen[]}[]} found
 * @param {string} split
 */
function extremes({ model, version }, found, split) {
  const typical = (/** @type {Seen} */ { row, probability }) => `${count(row)} (${percent(probability)})`;
  const troublesome = (/** @type {Seen} */ seen) => `${typical(seen)}, predicted as ${seen.answer}`;
  const rows = found.map((each) =>
    row(
      each.label,
      each.typical.slice(0, EXAMPLES).map(typical).join("; "),
      each.troublesome.slice(0, EXAMPLES).map(troublesome).join("; "),
    ),
  );
  return [
    element("h4", {}, "Typical and difficult images"),
    element(
      "p",
      { class: "hint" },
      "Row numbers, with the probability of the true class. The images are not in the repository; with the data, ",
      element("code", {}, `python -m training report ${model} ${version} --pictures FOLDER`),
      " draws them, and ",
      element("code", {}, `python -m training sample ${model} --class "${found[0]?.label}" --part ${split} --out FILE.png`),
      " draws the first images of a class.",
    ),
    table(`Images of ${split}`, head("Class", "Most typical", "Most difficult"), body(rows)),
  ];
}

/**
 * @param {string} title
 * @param {...Node} parts
 */
function table(title, ...parts) {
  return scroller(title, element("table", { class: "report-table" }, element("caption", {}, title), ...parts));
}

/** @param {Node[]} rows */
function body(rows) {
  return element("tbody", {}, ...rows);
}

/**
 * @param {string} name
 * @param {...string} cells
 */
function row(name, ...cells) {
  return element("tr", {}, element("th", { scope: "row" }, name), ...cells.map((cell) => element("td", {}, cell)));
}
