/** Tab "Step by step": the drawing after each preprocessing step. */

import * as api from "../api.js";
import { element } from "../view.js";

/** @typedef {import("../view.js").PageState} PageState */

const REASONS = new Map([
  ["drawn", "The drawing as received: any size, any position."],
  ["ink", "The ink is separated from the background, and shown light on dark."],
  ["cropped", "The empty border is removed: the position on the canvas is irrelevant."],
  ["pen", "Lines much thinner or thicker than in the training images would mislead the network."],
  ["fitted", "The longer side becomes 20 pixels, as in every image of MNIST, which the networks were trained on."],
  ["centred", "The ink's centre of mass is moved to the centre of 28 x 28 pixels, as in MNIST. This is the network's input."],
  ["taken", "The image already has the network's size and is used unchanged."],
]);

/** The tab "Step by step". */
export class StepsPanel {
  #hint = element("p", { class: "hint" });
  #row = element("ol", { class: "steps-row" });

  /** @param {HTMLElement} root */
  constructor(root) {
    root.append(this.#hint, this.#row);
  }

  /** @param {PageState} state */
  async show({ model, drawing, signal }) {
    if (!drawing) {
      this.#hint.textContent = "Draw a digit to see each preprocessing step.";
      this.#row.replaceChildren();
      return;
    }
    const { steps = [] } = await api.probabilities(model, drawing, { include: "steps" }, signal);
    this.#hint.textContent = "Preprocessing makes your drawing similar to the images of MNIST, which the networks were trained on.";
    const figures = steps.map(draw);
    await Promise.allSettled(figures.map(({ image }) => image.decode())); // so that no image is empty for a moment
    if (!signal.aborted) {
      this.#row.replaceChildren(...figures.map(({ item }) => item));
    }
  }
}

/** @param {api.Step} step */
function draw({ name, title, width, height, picture }) {
  const image = element("img", { src: picture, width, height, alt: `${title}, ${width} x ${height} pixels` });
  const caption = element("figcaption", {}, element("strong", {}, title), element("span", {}, REASONS.get(name) ?? ""));
  const figure = element("figure", {}, element("div", { class: "steps-frame" }, image), caption);
  return { image, item: element("li", {}, figure) };
}
