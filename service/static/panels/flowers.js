/** Flowers: what the network for photographs makes of one, and how little of it it sees. */

import * as api from "../api.js";
import { count, element, paintSeen, percent, stretch } from "../view.js";

/**
 * @typedef {import("../view.js").Shown} Shown
 * @typedef {import("../api.js").Summary} Summary
 */

const KINDS = ["image/png", "image/jpeg", "image/webp"];
const PHOTOGRAPHS = "64,64,3";

/** The tab "Flowers". */
export class FlowersPanel {
  #root;
  #hint = element("p");
  #file = element("input", { type: "file", accept: KINDS.join(), class: "unseen", id: "flowers-file" });
  #drop = element(
    "label",
    { class: "flowers-drop", for: "flowers-file" },
    element("strong", {}, "Choose a photograph of a flower"),
    element("span", { class: "hint" }, "or drop or paste one here: PNG, JPEG or WebP"),
  );
  #problem = element("p", { class: "flowers-problem", role: "alert" });
  #answer = element("p", { class: "flowers-answer", role: "status" });
  #photo = element("img", { alt: "Your photograph", width: 256, height: 256 });
  #seen = element("canvas", { width: 64, height: 64, role: "img", "aria-label": "The photograph's middle square, 64 x 64 pixels" });
  #bars = element("ol", { class: "flowers-bars" });
  #result = element("div", { class: "flowers-result", hidden: true });

  /** @type {Summary | null} */
  #model = null;

  #asking = new AbortController();

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
      this.#take(this.#file.files);
      this.#file.value = ""; // so that the same file can be chosen again
    });
    root.addEventListener("dragover", (event) => event.preventDefault());
    root.addEventListener("drop", (event) => {
      event.preventDefault(); // what is dropped or pasted here is not for the paper
      this.#take(event.dataTransfer?.files);
    });
    window.addEventListener("paste", (event) => this.#paste(event), { capture: true });
  }

  /** @param {Shown} shown */
  show({ models }) {
    this.#model = models.find(({ input }) => input.join() === PHOTOGRAPHS) ?? null;
    this.#drop.hidden = this.#file.disabled = !this.#model;
    this.#hint.textContent = this.#model ? introduce(this.#model) : "No network for photographs is served.";
  }

  /** @param {ClipboardEvent} event */
  #paste(event) {
    const files = event.clipboardData?.files;
    if (files?.length && this.#model && this.#root.getClientRects().length) {
      event.preventDefault();
      this.#take(files);
    }
  }

  /** @param {FileList | null | undefined} files */
  #take(files) {
    const picture = [...(files ?? [])].find(({ type }) => KINDS.includes(type));
    if (picture) {
      void this.#ask(picture);
    } else {
      const got = files?.[0]?.type || "something else";
      this.#problem.textContent = `A photograph should be a PNG, JPEG or WebP file; this is ${got}.`;
    }
  }

  /** @param {File} picture */
  async #ask(picture) {
    if (!this.#model) {
      return;
    }
    this.#asking.abort();
    this.#asking = new AbortController();
    const { signal } = this.#asking;
    const model = this.#model;
    this.#problem.textContent = "";
    try {
      const answer = await api.probabilities(model, { picture }, { include: "seen" }, signal);
      await this.#display(picture);
      this.#tell(model, answer);
    } catch (error) {
      if (!signal.aborted) {
        this.#problem.textContent = error instanceof Error ? error.message : String(error);
      }
    }
  }

  /** @param {File} picture */
  async #display(picture) {
    const former = this.#photo.src;
    this.#photo.src = URL.createObjectURL(picture);
    URL.revokeObjectURL(former);
    await this.#photo.decode();
  }

  /**
   * @param {Summary} model
   * @param {api.Answer & {probabilities: number[]}} answer
   */
  #tell({ labels }, { label, confidence, probabilities, seen }) {
    paintSeen(this.#seen, seen);
    this.#answer.textContent = `${label}, ${percent(confidence)}`;
    const sorted = labels.map((name, i) => ({ name, probability: probabilities[i] })).sort((a, b) => b.probability - a.probability);
    this.#bars.replaceChildren(
      ...sorted.map(({ name, probability }) => {
        const bar = element("span", { class: "bar" });
        stretch(bar, probability);
        const number = element("span", { class: "flowers-number" }, percent(probability));
        return element("li", {}, element("span", {}, name), element("span", { class: "track" }, bar), number);
      }),
    );
    this.#result.hidden = false;
  }
}

/**
 * Say how good the network is.
 * @param {Summary} model
 */
function introduce({ name, version, labels, metrics }) {
  const test = metrics.find(({ fit, split }) => fit === "published" && split === "test");
  const honest = test
    ? ` Expect mistakes: of ${count(test.examples)} photographs that it had not met it named ${percent(test.accuracy)} rightly; guessing would name ${percent(1 / labels.length)}.`
    : "";
  return `${name} ${version} knows ${labels.length} flowers and nothing else.${honest}`;
}
