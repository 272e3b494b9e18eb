/** Weights: what the units of the first layer look for, and the matrices of the deeper ones. */

import * as api from "../api.js";
import { count, element, scroller, stretch } from "../view.js";

/**
 * @typedef {import("../view.js").Shown} Shown
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

  /** What is drawn: a version in a palette. */
  #drawn = "";

  /** @type {Map<number, Unit>} Those that were ever shown of this version, by number. */
  #made = new Map();

  /** @type {number[]} All units, in the order they are shown in. */
  #order = [];

  /** @type {number[] | null} */
  #values = null;

  #limit = MORE;

  /** @type {(unit: number) => Unit} */
  #make = () => {
    throw new Error("No version is shown.");
  };

  /** @param {HTMLElement} root */
  constructor(root) {
    root.append(this.#title, this.#hint, this.#units, this.#more, this.#deeper);
  }

  /** @param {Shown} shown */
  async show({ model, summary, drawing, palette, signal }) {
    const drawn = `${model.name}/${model.version}/${palette}`;
    const [{ layers }, told] = await Promise.all([
      drawn === this.#drawn ? { layers: null } : api.weights(model, signal),
      drawing && api.explain(model, drawing, { include: "activations" }, signal),
    ]);
    if (layers) {
      this.#drawn = drawn;
      this.#made = new Map();
      this.#limit = MORE;
      this.#make = (unit) => makeUnit(model, layers[0], unit, palette, summary.layers.length === 1 ? summary.labels : null);
      this.#showDeeper(model, layers.slice(1), palette, summary);
    }
    this.#showUnits(summary, told?.activations?.[0].values ?? null);
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
      this.#title.textContent = `${name}: one image a digit`;
      this.#hint.textContent = `The ${labels.length} units answer at once: ink on a green or blue pixel speaks for the digit, ink on the other colour against it. ${
        values ? "The numbers are their logits; the highest wins." : "Draw something to see their logits."
      }`;
    } else {
      this.#title.textContent = `${name}: what its ${count(units)} units look for`;
      if (values) {
        this.#order.sort((a, b) => values[b] - values[a] || a - b);
        const firing = values.filter((value) => value > 0).length;
        this.#hint.textContent = `${count(firing)} of ${count(units)} units fire for this drawing, those that fire most come first. The numbers are their activations.`;
      } else {
        this.#hint.textContent = "In the order of the layer. Draw something to see which units fire for it.";
      }
    }
    this.#arrange();
  }

  /** Put the units that are shown in their order; those made before only move. */
  #arrange() {
    const shown = this.#order.slice(0, this.#limit);
    const most = Math.max(...(this.#values ?? [0]).map(Math.abs)) || 1;
    this.#units.replaceChildren(
      ...shown.map((unit) => {
        const made = this.#made.get(unit) ?? this.#make(unit);
        this.#made.set(unit, made);
        const value = this.#values?.[unit];
        made.number.textContent = value === undefined ? "\u00a0" : value.toFixed(2).replace("-", "−");
        made.figure.classList.toggle("weights-silent", value !== undefined && value <= 0);
        stretch(made.bar, Math.max(value ?? 0, 0) / most);
        return made.figure;
      }),
    );
    const left = this.#order.length - shown.length;
    this.#more.hidden = !left;
    this.#more.textContent = `Show ${count(Math.min(MORE, left))} more of ${count(left)}`;
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
          width: Math.max(units, 160), // a picture of ten columns would be a thread
          height: inputs,
          loading: "lazy",
          alt: `The weights of ${name} as a picture of ${count(inputs)} rows and ${count(units)} columns`,
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
function makeUnit(model, layer, unit, palette, labels) {
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
