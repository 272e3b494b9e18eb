/** Numbers of several digits: boxes round the digits over the drawing, their confidences, and corrections. */

import { SIDE } from "./drawing.js";
import { element, percent } from "./view.js";

/**
 * @typedef {import("./api.js").Reading} Reading
 * @typedef {import("./api.js").ReadDigit} ReadDigit
 *
 * @typedef {object} Frame  Where a drawing lies on the canvas: canvas = drawing * scale + offset.
 * @property {number} scale
 * @property {[number, number]} offset
 * @property {number} margin  Width of the pen beyond a box, in canvas units.
 */

/** Confidence below which a digit is shown as doubtful, as a prediction of one digit is. */
const LOW_CONFIDENCE = 0.8;

/** Height that the label above a box needs, in canvas units; otherwise it is within the box. */
const TAG = 100;

/**
 * Shows the number that was read, and lets a person correct its digits. Corrections stay on the page. Event:
 * `change` when a digit is corrected.
 */
export class NumberView extends EventTarget {
  #root;
  #list;
  #choices;
  #boxes;

  /** @type {Reading | null} */
  #reading = null;
  /** @type {Frame} */
  #frame = { scale: 1, offset: [0, 0], margin: 0 };
  /** @type {string[]} */
  #labels = [];
  /** @type {Map<number, string>} Corrected labels by position. */
  #corrections = new Map();
  /** @type {number | null} Position of the selected digit. */
  #selected = null;

  /**
   * @param {HTMLElement} root  Hidden while there is no number.
   * @param {HTMLElement} list  Gets a button for every digit.
   * @param {HTMLElement} choices  Gets a button for every label that a digit can be corrected to.
   * @param {HTMLElement} boxes  Lies over the canvas.
   */
  constructor(root, list, choices, boxes) {
    super();
    this.#root = root;
    this.#list = list;
    this.#choices = choices;
    this.#boxes = boxes;
    root.addEventListener("keydown", (event) => this.#key(event));
  }

  /** The number with its corrections, one line of text for each line. */
  get text() {
    return this.#reading ? text(this.#reading, this.#corrections) : "";
  }

  /** The number and its confidence in words. */
  get verdict() {
    return this.#reading ? verdict(this.#reading, this.#corrections.size) : "";
  }

  /**
   * Show a number. Corrections of the same drawing are kept until `clear`.
   * @param {Reading} reading
   * @param {Frame} frame
   * @param {string[]} labels  The labels of the network.
   */
  show(reading, frame, labels) {
    if (this.#reading && this.#reading.text !== reading.text) {
      this.#forget();
    }
    [this.#reading, this.#frame, this.#labels] = [reading, frame, labels];
    this.#draw();
  }

  /** Forget the corrections, since the drawing has changed; the number stays until another one is shown. */
  reset() {
    this.#forget();
    this.#boxes.hidden = true;
    this.#choices.hidden = true;
  }

  /** Show that there is no number, and forget the corrections. */
  clear() {
    this.#reading = null;
    this.#forget();
    this.#root.hidden = this.#boxes.hidden = true;
    this.#boxes.replaceChildren();
    this.#list.replaceChildren();
  }

  #forget() {
    this.#corrections.clear();
    this.#selected = null;
  }

  #draw() {
    const { digits } = /** @type {Reading} */ (this.#reading);
    this.#root.hidden = this.#boxes.hidden = false;
    const focused = [...this.#list.querySelectorAll("button")].indexOf(/** @type {any} */ (document.activeElement));
    const buttons = digits.map((digit, position) => this.#button(digit, position));
    this.#list.replaceChildren(...buttons.map((button) => element("li", {}, button)));
    buttons[focused]?.focus();
    this.#boxes.replaceChildren(...digits.map((digit, position) => this.#box(digit, position)));
    const position = this.#selected;
    this.#choices.hidden = position === null;
    if (position !== null) {
      this.#choices.setAttribute("aria-label", `Correct digit ${position + 1}`);
      const choices = this.#labels.map((label) =>
        element("button", { type: "button", click: () => this.#correct(position, label) }, label),
      );
      this.#choices.replaceChildren(element("span", { class: "hint" }, `Digit ${position + 1} is`), ...choices);
    }
  }

  /**
   * @param {ReadDigit} digit
   * @param {number} position
   */
  #button(digit, position) {
    const corrected = this.#corrections.get(position);
    const label = corrected ?? digit.label;
    const note = corrected === undefined ? percent(digit.confidence) : `was ${digit.label}`;
    const classes = ["number-digit", corrected === undefined ? isDoubtful(digit) && "doubtful" : "corrected"];
    return element(
      "button",
      {
        type: "button",
        class: classes.filter(Boolean).join(" "),
        "aria-pressed": String(position === this.#selected),
        click: () => this.#select(position),
      },
      element("span", { class: "unseen" }, `Digit ${position + 1}: `),
      element("strong", {}, label),
      " ",
      element("span", {}, note),
    );
  }

  /**
   * @param {ReadDigit} digit
   * @param {number} position
   */
  #box(digit, position) {
    const [left, top, right, bottom] = boxOnCanvas(digit.box, this.#frame);
    const label = this.#corrections.get(position) ?? digit.label;
    // The list has the same buttons for keyboards and screen readers.
    const tag = element("button", { type: "button", tabindex: -1, click: () => this.#select(position, true) }, label);
    const classes = ["box", isDoubtful(digit) && "doubtful", position === this.#selected && "selected", top < TAG && "high"];
    const box = element("div", { class: classes.filter(Boolean).join(" ") }, tag);
    const sides = { left, top, width: right - left, height: bottom - top };
    for (const [side, value] of Object.entries(sides)) {
      box.style.setProperty(side, `${(100 * value) / SIDE}%`);
    }
    return box;
  }

  /**
   * @param {number} position
   * @param {boolean} [focuses]  Whether the digit's button in the list gets the focus.
   */
  #select(position, focuses = false) {
    this.#selected = position === this.#selected && !focuses ? null : position;
    this.#draw();
    if (focuses) {
      this.#list.querySelectorAll("button")[position]?.focus();
    }
  }

  /**
   * @param {number} position
   * @param {string} label
   */
  #correct(position, label) {
    const { digits } = /** @type {Reading} */ (this.#reading);
    if (label === digits[position].label) {
      this.#corrections.delete(position);
    } else {
      this.#corrections.set(position, label);
    }
    this.#selected = null;
    this.#draw();
    this.#list.querySelectorAll("button")[position]?.focus();
    this.dispatchEvent(new Event("change"));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const buttons = [...this.#list.querySelectorAll("button")];
    const position = this.#selected ?? buttons.indexOf(/** @type {any} */ (event.target));
    if (event.ctrlKey || event.metaKey || event.altKey || position < 0) {
      return;
    }
    if (this.#labels.includes(event.key)) {
      this.#correct(position, event.key);
    } else if (event.key === "Escape" && this.#selected !== null) {
      this.#selected = null;
      this.#draw();
      this.#list.querySelectorAll("button")[position]?.focus();
    } else {
      return;
    }
    event.preventDefault();
  }
}

/** @param {ReadDigit} digit */
function isDoubtful(digit) {
  return digit.sure === false || digit.confidence < LOW_CONFIDENCE;
}

/**
 * Return a number with corrections: lines separated as they were read.
 * @param {{text: string, digits: {label: string}[]}} reading
 * @param {Map<number, string>} corrections  By position among all digits.
 */
export function text(reading, corrections) {
  let rest = reading.text;
  let result = "";
  reading.digits.forEach(({ label }, position) => {
    const start = rest.startsWith("\n") ? "\n" : "";
    rest = rest.slice(start.length + label.length);
    result += start + (corrections.get(position) ?? label);
  });
  return result;
}

/**
 * Return the confidence of a number in words.
 * @param {Reading} reading
 * @param {number} corrected  Number of corrected digits.
 */
export function verdict(reading, corrected) {
  const count = `${reading.digits.length} digits`;
  if (corrected) {
    return `${count}, ${corrected} corrected`;
  }
  const doubtful = reading.digits.filter(isDoubtful).length;
  const doubt = doubtful ? `, ${doubtful} of them doubtful` : "";
  return `${count}, ${percent(reading.confidence)} that all are right${doubt}`;
}

/**
 * Return a box in canvas units, with the pen, within the canvas.
 * @param {[number, number, number, number]} box  Left, top, right, bottom, in units of the drawing.
 * @param {Frame} frame
 */
export function boxOnCanvas(box, { scale, offset, margin }) {
  return box.map((value, side) => {
    const outwards = side < 2 ? -margin : margin;
    return Math.min(Math.max(value * scale + offset[side % 2] + outwards, 0), SIDE);
  });
}
