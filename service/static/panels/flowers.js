/** Tab "Flowers": prediction for a photograph, and the small image that the network gets. */

import * as api from "../api.js";
import { count, element, paintInput, percent, setBarLength } from "../view.js";

/**
 * @typedef {import("../view.js").PageState} PageState
 * @typedef {import("../api.js").Summary} Summary
 */

const IMAGE_TYPES = ["image/png", "image/jpeg", "image/webp"];
const PHOTOGRAPH_SHAPE = "64,64,3";

/** The tab "Flowers". */
export class FlowersPanel {
  #root;
  #hint = element("p");
  #file = element("input", { type: "file", accept: IMAGE_TYPES.join(), class: "unseen", id: "flowers-file" });
  #drop = element(
    "label",
    { class: "flowers-drop", for: "flowers-file" },
    element("strong", {}, "Choose a photograph of a flower"),
    element("span", { class: "hint" }, "or drop or paste one here: PNG, JPEG or WebP"),
  );
  #problem = element("p", { class: "flowers-problem", role: "alert" });
  #answer = element("p", { class: "flowers-answer", role: "status" });
  #photo = element("img", { alt: "Your photograph", width: 256, height: 256 });
  #seen = element("canvas", { width: 64, height: 64, role: "img", "aria-label": "The central square of the photograph, 64 x 64 pixels" });
  #bars = element("ol", { class: "flowers-bars" });
  #result = element("div", { class: "flowers-result", hidden: true });

  /** @type {Summary | null} */
  #model = null;

  #request = new AbortController();

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
    const pictures = element(
      "div",
      { class: "flowers-pictures" },
      element("figure", {}, this.#photo, element("figcaption", { class: "hint" }, "Your photograph")),
      element("figure", {}, this.#seen, element("figcaption", { class: "hint" }, "What the network sees: 64 x 64")),
    );
    this.#result.append(pictures, element("div", {}, this.#answer, this.#bars));
    root.append(this.#hint, this.#file, this.#drop, this.#problem, this.#result);
    this.#file.addEventListener("change", () => {
      this.#accept(this.#file.files);
      this.#file.value = ""; // so that the same file can be selected again
    });
    root.addEventListener("dragover", (event) => event.preventDefault());
    root.addEventListener("drop", (event) => {
      event.preventDefault(); // files dropped or pasted here are not for the canvas
      this.#accept(event.dataTransfer?.files);
    });
    window.addEventListener("paste", (event) => this.#paste(event), { capture: true });
  }

  /** @param {PageState} shown */
  show({ models }) {
    this.#model = models.find(({ input }) => input.join() === PHOTOGRAPH_SHAPE) ?? null;
    this.#drop.hidden = this.#file.disabled = !this.#model;
    this.#hint.textContent = this.#model ? introduce(this.#model) : "No network for photographs is served.";
  }

  /** @param {ClipboardEvent} event */
  #paste(event) {
    const files = event.clipboardData?.files;
    if (files?.length && this.#model && this.#root.getClientRects().length) {
      event.preventDefault();
      this.#accept(files);
    }
  }

  /** @param {FileList | null | undefined} files */
  #accept(files) {
    const picture = [...(files ?? [])].find(({ type }) => IMAGE_TYPES.includes(type));
    if (picture) {
      void this.#predict(picture);
    } else {
      const got = files?.[0]?.type || "an unknown type";
      this.#problem.textContent = `Expected a PNG, JPEG or WebP file; got ${got}.`;
    }
  }

  /** @param {File} picture */
  async #predict(picture) {
    if (!this.#model) {
      return;
    }
    this.#request.abort();
    this.#request = new AbortController();
    const { signal } = this.#request;
    const model = this.#model;
    this.#problem.textContent = "";
    try {
      const prediction = await api.probabilities(model, { picture }, { include: "seen" }, signal);
      await this.#showPhoto(picture);
      this.#showPrediction(model, prediction);
    } catch (error) {
      if (!signal.aborted) {
        this.#problem.textContent = error instanceof Error ? error.message : String(error);
      }
    }
  }

  /** @param {File} picture */
  async #showPhoto(picture) {
    const previous = this.#photo.src;
    this.#photo.src = URL.createObjectURL(picture);
    URL.revokeObjectURL(previous);
    await this.#photo.decode();
  }

  /**
   * @param {Summary} model
   * @param {api.Prediction & {probabilities: number[]}} prediction
   */
  #showPrediction({ labels }, { label, confidence, probabilities, seen }) {
    paintInput(this.#seen, seen);
    this.#answer.textContent = `${label}, ${percent(confidence)}`;
    const sorted = labels.map((name, i) => ({ name, probability: probabilities[i] })).sort((a, b) => b.probability - a.probability);
    this.#bars.replaceChildren(
      ...sorted.map(({ name, probability }) => {
        const bar = element("span", { class: "bar" });
        setBarLength(bar, probability);
        const number = element("span", { class: "flowers-number" }, percent(probability));
        return element("li", {}, element("span", {}, name), element("span", { class: "track" }, bar), number);
      }),
    );
    this.#result.hidden = false;
  }
}

/**
 * Return a description of the network and its accuracy.
 * @param {Summary} model
 */
function introduce({ name, version, labels, metrics }) {
  const test = metrics.find(({ fit, split }) => fit === "published" && split === "test");
  const accuracy = test
    ? ` Its accuracy on ${count(test.examples)} test photographs is ${percent(test.accuracy)}; guessing would reach ${percent(1 / labels.length)}.`
    : "";
  return `${name} ${version} distinguishes ${labels.length} kinds of flowers.${accuracy}`;
}
