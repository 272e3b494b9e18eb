/** Step by step: what the service makes of a drawing before a network sees it. */

import * as api from "../api.js";
import { element } from "../view.js";

/** @typedef {import("../view.js").Shown} Shown */

const WHY = new Map([
  ["drawn", "What came: any size, anywhere on the paper."],
  ["ink", "Told apart from the paper and always light on dark, however it was drawn."],
  ["cropped", "Where on the paper it stood says nothing about the digit."],
  ["pen", "Lines much thinner or thicker than those of the training images would mislead."],
  ["fitted", "The longer side becomes 20 pixels, as in every image of MNIST, which the networks learnt from."],
  ["centred", "The ink's centre of mass goes into the middle of 28 x 28, as in MNIST. This is all the network sees."],
  ["taken", "It had the network's size already and is taken as it is."],
]);

/** The tab "Step by step". */
export class StepsPanel {
  #hint = element("p", { class: "hint" });
  #row = element("ol", { class: "steps-row" });

  /** @param {HTMLElement} root */
  constructor(root) {
    root.append(this.#hint, this.#row);
  }

  /** @param {Shown} shown */
  async show({ model, drawing, signal }) {
    if (!drawing) {
      this.#hint.textContent = "Draw something, and see each step between your drawing and what the network gets.";
      this.#row.replaceChildren();
      return;
    }
    const { steps = [] } = await api.probabilities(model, drawing, { include: "steps" }, signal);
    this.#hint.textContent = "Between your drawing and the network stands the preparation that made MNIST's images.";
    const figures = steps.map(draw);
    await Promise.allSettled(figures.map(({ image }) => image.decode())); // so that no picture is empty for a moment
    if (!signal.aborted) {
      this.#row.replaceChildren(...figures.map(({ item }) => item));
    }
  }
}

/** @param {api.Step} step */
function draw({ name, title, width, height, picture }) {
  const image = element("img", { src: picture, width, height, alt: `${title}, ${width} x ${height} pixels` });
  const caption = element("figcaption", {}, element("strong", {}, title), element("span", {}, WHY.get(name) ?? ""));
  const figure = element("figure", {}, element("div", { class: "steps-frame" }, image), caption);
  return { image, item: element("li", {}, figure) };
}
