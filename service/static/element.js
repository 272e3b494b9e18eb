/**
 * The web component `<inkling-pad>`: the drawing canvas with undo and clear, which predicts what is drawn.
 *
 * Attributes: `model`, by default the recommended one; `service`, the address of the service, by default that of
 * this file. Property: `key`, an API key. Events: `stroke` after each change of the drawing, with its strokes in
 * `detail`; `predict` with the prediction; `fail` with an `Error`. Parts for CSS: `canvas`, `tools`, `undo`, `clear`.
 *
 * @typedef {import("./drawing.js").Stroke} Stroke
 */

import { Pad } from "./pad.js";

const SHEET = new CSSStyleSheet(); // allowed by a page's content security policy, as an inline style is not
SHEET.replaceSync(`
  :host { --accent: light-dark(#0b63ce, #7db6ff); color-scheme: light dark; display: inline-block; inline-size: 16rem; }
  canvas {
    aspect-ratio: 1; background: light-dark(#fff, #16181d); border: 1px solid light-dark(#767676, #8b8f98);
    border-radius: 0.5rem; box-sizing: border-box; color: light-dark(#111, #f2f2f2); cursor: crosshair;
    display: block; inline-size: 100%; touch-action: none;
  }
  canvas:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
  [part="tools"] { display: flex; gap: 0.5rem; margin-block-start: 0.5rem; }
  button { flex: 1; font: inherit; padding: 0.4rem; }
  [role="status"] { block-size: 1px; clip-path: inset(50%); inline-size: 1px; overflow: hidden; position: absolute; white-space: nowrap; }
`);

const HELP = "Drawing pad. Arrow keys move the pen, space lowers and lifts it, delete clears.";

export class InklingPad extends HTMLElement {
  /** API key that requests carry; empty for none. */
  key = "";

  /** @type {AbortController | null} The request in progress. */
  #request = null;

  /** @type {Pad} */
  #pad;
  /** @type {HTMLButtonElement} */
  #undo;
  /** @type {HTMLButtonElement} */
  #clear;
  /** @type {HTMLElement} */
  #status;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open", delegatesFocus: true });
    root.adoptedStyleSheets = [SHEET];
    const canvas = create("canvas", { tabIndex: 0, role: "img", ariaLabel: HELP }, "canvas");
    const tools = create("div", {}, "tools");
    this.#undo = create("button", { type: "button", textContent: "Undo", disabled: true }, "undo");
    this.#clear = create("button", { type: "button", textContent: "Clear", disabled: true }, "clear");
    this.#status = create("div", { role: "status" }, "status");
    tools.append(this.#undo, this.#clear);
    root.append(canvas, tools, this.#status);
    this.#pad = new Pad(canvas);
    this.#undo.addEventListener("click", () => this.#pad.undo());
    this.#clear.addEventListener("click", () => this.#pad.clear());
    this.#pad.addEventListener("announce", (event) => {
      this.#status.textContent = /** @type {CustomEvent<string>} */ (event).detail;
    });
    this.#pad.addEventListener("change", () => {
      this.#undo.disabled = !this.#pad.canUndo;
      this.#clear.disabled = !this.#pad.drawing;
    });
    this.#pad.addEventListener("settle", () => this.#settle());
  }

  disconnectedCallback() {
    this.#request?.abort();
  }

  /**
   * The strokes of the drawing: points [x, y] from 0 to 1000, y downwards.
   * @returns {Stroke[]}
   */
  get strokes() {
    const drawing = this.#pad.drawing;
    return drawing && "strokes" in drawing ? drawing.strokes : [];
  }

  set strokes(strokes) {
    this.#pad.draw(strokes);
  }

  undo() {
    this.#pad.undo();
  }

  clear() {
    this.#pad.clear();
  }

  async #settle() {
    this.#request?.abort();
    this.#emit("stroke", this.strokes);
    if (!this.strokes.length) {
      return;
    }
    const request = (this.#request = new AbortController());
    try {
      const prediction = await this.#predict(request.signal);
      this.#status.textContent = `Recognised: ${prediction.label}.`;
      this.#emit("predict", prediction);
    } catch (error) {
      if (!request.signal.aborted) {
        this.#emit("fail", error);
      }
    }
  }

  /** @param {AbortSignal} signal */
  async #predict(signal) {
    const service = new URL(this.getAttribute("service") ?? new URL("..", import.meta.url), document.baseURI);
    if (!service.pathname.endsWith("/")) {
      service.pathname += "/";
    }
    /** @type {Record<string, string>} */
    const headers = { "Content-Type": "application/json", ...(this.key && { Authorization: `Bearer ${this.key}` }) };
    /** @param {string} path @param {RequestInit} [init] */
    const load = async (path, init) => {
      const response = await fetch(new URL(path, service), { ...init, headers, signal });
      const body = await response.json();
      if (!response.ok) {
        throw new Error(body.detail ?? `The response has status ${response.status}.`);
      }
      return body;
    };
    const model = this.getAttribute("model") ?? (await load("v1/models")).default;
    const body = JSON.stringify({ strokes: this.strokes });
    const answer = await load(`v1/models/${encodeURIComponent(model)}/predict`, { method: "POST", body });
    return answer.predictions[0];
  }

  /** @param {string} name @param {unknown} detail */
  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }
}

/**
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Partial<HTMLElementTagNameMap[Name]>} properties
 * @param {string} part
 * @returns {HTMLElementTagNameMap[Name]}
 */
function create(name, properties, part) {
  const element = document.createElement(name);
  Object.assign(element, properties);
  element.part.add(part);
  return element;
}

if (!customElements.get("inkling-pad")) {
  customElements.define("inkling-pad", InklingPad);
}
