/** Tab "Weights": weight images of the first layer's units, and the matrices of the deeper layers. */

import * as api from "../api.js";
import { count, element, scroller, setBarLength } from "../view.js";

/**
 * @typedef {import("../view.js").PageState} PageState
 * @typedef {Awaited<ReturnType<typeof api.weights>>["layers"][number]} Layer
 * @typedef {{figure: HTMLElement, bar: HTMLElement, number: HTMLElement}} Unit
 */

const MORE = 32;
const SCALE = 3;
const SIDE = 28 * SCALE;

/** The tab "Weights". */
export class WeightsPanel {
  #title = element("h3");
  #hint = element("p", { class: "hint weights-hint" });
  #units = element("div", { class: "weights-units" });
  #more = element("button", { type: "button", click: () => this.#showMore() }, "Show more");
  #deeper = element("div", { class: "weights-deeper" });

  /** Key of the content: version and palette. */
  #drawn = "";

  /** @type {Map<number, Unit>} Units created so far, by number. */
  #created = new Map();

  /** @type {number[]} All units, in display order. */
  #order = [];

  /** @type {number[] | null} Activation of each unit. */
  #values = null;

  #limit = MORE;

  /** @type {(unit: number) => Unit} */
  #createUnit = () => {
    throw new Error("No version is selected.");
  };

  /** @param {HTMLElement} root */
  constructor(root) {
    root.append(this.#title, this.#hint, this.#units, this.#more, this.#deeper);
  }

  /** @param {PageState} state */
  async show({ model, summary, drawing, palette, signal }) {
    const drawn = `${model.name}/${model.version}/${palette}`;
    const [{ layers }, explanation] = await Promise.all([
      drawn === this.#drawn ? { layers: null } : api.weights(model, signal),
      drawing && api.explain(model, drawing, { include: "activations" }, signal),
    ]);
    if (layers) {
      this.#drawn = drawn;
      this.#created = new Map();
      this.#limit = MORE;
      this.#createUnit = (unit) => createUnit(model, layers[0], unit, palette, summary.layers.length === 1 ? summary.labels : null);
      this.#showDeeper(model, layers.slice(1), palette, summary);
    }
    this.#showUnits(summary, explanation?.activations?.[0].values ?? null);
  }

  /**
   * @param {api.Summary} summary
   * @param {number[] | null} values
   */
  #showUnits({ layers, labels }, values) {
    const [{ name, units }] = layers;
    this.#values = values;
    this.#order = Array.from({ length: units }, (_, unit) => unit);
    if (layers.length === 1) {
      this.#title.textContent = `${name}: one image per digit`;
      this.#hint.textContent = `Each of the ${labels.length} units is a digit: ink on a green or blue pixel supports it, ink on a pixel of the other colour opposes it. ${
        values ? "The numbers are the logits; the largest is the prediction." : "Draw a digit to see the logits."
      }`;
    } else {
      this.#title.textContent = `${name}: weights of its ${count(units)} units`;
      if (values) {
        this.#order.sort((a, b) => values[b] - values[a] || a - b);
        const active = values.filter((value) => value > 0).length;
        this.#hint.textContent = `${count(active)} of ${count(units)} units are active for this drawing; the most active come first. The numbers are their activations.`;
      } else {
        this.#hint.textContent = "Units in the order of the layer. Draw a digit to see which are active.";
      }
    }
    this.#arrange();
  }

  /** Show the units in display order; existing elements are moved, not created again. */
  #arrange() {
    const shown = this.#order.slice(0, this.#limit);
    const largest = Math.max(...(this.#values ?? [0]).map(Math.abs)) || 1;
    this.#units.replaceChildren(
      ...shown.map((unit) => {
        const found = this.#created.get(unit) ?? this.#createUnit(unit);
        this.#created.set(unit, found);
        const value = this.#values?.[unit];
        found.number.textContent = value === undefined ? "\u00a0" : value.toFixed(2).replace("-", "−");
        found.figure.classList.toggle("weights-silent", value !== undefined && value <= 0);
        setBarLength(found.bar, Math.max(value ?? 0, 0) / largest);
        return found.figure;
      }),
    );
    const hidden = this.#order.length - shown.length;
    this.#more.hidden = !hidden;
    this.#more.textContent = `Show ${count(Math.min(MORE, hidden))} more of ${count(hidden)}`;
  }

  #showMore() {
    this.#limit += MORE;
    this.#arrange();
  }

  /**
   * @param {api.Model} model
   * @param {Layer[]} layers
   * @param {api.Palette} palette
   * @param {api.Summary} summary
   */
  #showDeeper(model, layers, palette, summary) {
    this.#deeper.replaceChildren(
      ...layers.map(({ name, shape: [inputs, units], minimum, maximum }, i) => {
        const isLast = i === layers.length - 1;
        const image = element("img", {
          src: api.layerImage(model, name, palette),
          width: Math.max(units, 160), // an image of ten columns would be too narrow
          height: inputs,
          loading: "lazy",
          alt: `The weights of ${name} as an image of ${count(inputs)} rows and ${count(units)} columns`,
        });
        const columns = isLast ? `the classes ${summary.labels[0]} to ${summary.labels.at(-1)}` : "its units";
        const range = [minimum, maximum].map((weight) => weight.toFixed(2).replace("-", "−")).join(" to ");
        return element(
          "figure",
          {},
          element("figcaption", {}, element("h3", {}, name), element("span", { class: "hint" },
            `${count(inputs)} rows, the units of ${summary.layers[i].name}; ${count(units)} columns, ${columns}. Weights from ${range}.`)),
          scroller(`Matrix of ${name}`, image),
        );
      }),
    );
  }
}

/**
 * @param {api.Model} model
 * @param {Layer} layer
 * @param {number} unit
 * @param {api.Palette} palette
 * @param {string[] | null} labels  If the units are the classes.
 * @returns {Unit}
 */
function createUnit(model, layer, unit, palette, labels) {
  const name = labels ? labels[unit] : `unit ${unit}`;
  const image = element("img", {
    src: api.unitImage(model, layer.name, unit, palette, SCALE),
    width: SIDE,
    height: SIDE,
    loading: "lazy",
    alt: `Weights of ${name}`,
  });
  const bar = element("span", { class: "bar" });
  const number = element("span", { class: "weights-number" });
  const caption = element("figcaption", {}, element("span", {}, name), number);
  return { figure: element("figure", {}, image, element("div", { class: "track" }, bar), caption), bar, number };
}
