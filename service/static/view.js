/** Creates elements and paints images. Sets text, never markup; colours are in canvases, never in style attributes. */

/**
 * @typedef {import("./api.js").Palette} Palette
 * @typedef {import("./api.js").Summary} Summary
 * @typedef {import("./api.js").Model} Model
 * @typedef {import("./drawing.js").Drawing} Drawing
 *
 * @typedef {object} PageState  State of the page, for panels.
 * @property {Model} model  The selected version.
 * @property {Summary} summary  Summary of the selected version.
 * @property {Summary[]} models  The newest version of every served model.
 * @property {Drawing | null} drawing
 * @property {string | null} label  The explained class.
 * @property {Palette} palette
 * @property {AbortSignal} signal  Aborted when a newer state is to be shown.
 * @property {(model: Model) => void} choose  Selects another version.
 * @property {() => void} refresh  Shows the panel again; retries when the service responds again.
 *
 * @typedef {object} Panel  Content of one tab.
 * @property {(state: PageState) => Promise<void> | void} show  Shows a state; the old content stays until the new is complete.
 */

/** Colours of +1 and -1, as in the service's weight images. */
const COLOURS = {
  lesson: [
    [0, 255, 0],
    [255, 0, 255],
  ],
  safe: [
    [0, 114, 178],
    [213, 94, 0],
  ],
};

/**
 * Create an element.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number | boolean | ((event: any) => void)>} [properties]  Attributes; a function
 *   listens to the event of that name; true sets an attribute, false omits it.
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, properties = {}, ...children) {
  const created = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") {
      created.addEventListener(name, value);
    } else if (typeof value === "boolean") {
      created.toggleAttribute(name, value);
    } else {
      created.setAttribute(name, String(value));
    }
  }
  created.append(...children);
  return created;
}

/**
 * Return the element with an id.
 *
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new (...args: any[]) => T} type
 * @returns {T}
 * @throws {Error} The page has no such element.
 */
export function elementById(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) {
    throw new Error(`The page has no ${type.name} #${id}.`);
  }
  return found;
}

/**
 * Format a probability: `98.3 %`; 100 % and 0 % only for exactly 1 and 0.
 * @param {number} probability
 */
export function percent(probability) {
  const rounded = Math.round(probability * 1000) / 10;
  if (rounded === 100 && probability < 1) {
    return "> 99.9 %";
  }
  return rounded === 0 && probability > 0 ? "< 0.1 %" : `${rounded.toFixed(1)} %`;
}

/**
 * Set the length of a bar.
 * @param {HTMLElement} bar
 * @param {number} share  0 to 1.
 */
export function setBarLength(bar, share) {
  bar.style.setProperty("--share", String(share));
}

/**
 * Paint a network's input: grey for one number per pixel (white ink on black), colour for three.
 * @param {HTMLCanvasElement} canvas
 * @param {any} input  [height][width], or [height][width][3], 0 to 255.
 */
export function paintInput(canvas, input) {
  paint(canvas, input, (/** @type {any} */ pixel) => (Array.isArray(pixel) ? [...pixel, 255] : [pixel, pixel, pixel, 255]));
}

/**
 * Paint shares with the formula of weight images, v = share / max|share|: `service/core/network/weight_images.py`.
 * @param {HTMLCanvasElement} canvas
 * @param {number[][]} shares  [height][width].
 * @param {Palette} palette
 */
export function paintShares(canvas, shares, palette) {
  const largest = Math.max(...shares.flat().map(Math.abs)) || 1;
  const [plus, minus] = COLOURS[palette];
  paint(canvas, shares, (share) => {
    const v = share / largest;
    const colour = v > 0 ? plus : minus;
    return [...colour.map((value) => 255 - Math.abs(v) * (255 - value)), v ? 255 : 0];
  });
}

/**
 * @template Pixel
 * @param {HTMLCanvasElement} canvas
 * @param {Pixel[][]} pixels
 * @param {(pixel: Pixel) => number[]} colour  Red, green, blue, alpha, 0 to 255.
 */
function paint(canvas, pixels, colour) {
  const [height, width] = [pixels.length, pixels[0].length];
  if (canvas.width !== width || canvas.height !== height) {
    [canvas.width, canvas.height] = [width, height];
  }
  const rgba = Uint8ClampedArray.from(pixels.flat().flatMap(colour));
  canvas.getContext("2d")?.putImageData(new ImageData(rgba, width), 0, 0);
}

/**
 * Format an integer: `60,000`.
 * @param {number} number
 */
export function count(number) {
  return number.toLocaleString("en-GB");
}

/**
 * Wrap wide content in a scrollable region, also for the keyboard, so that the page itself does not scroll sideways.
 * @param {string} label  Accessible name.
 * @param {Node} content
 */
export function scroller(label, content) {
  return element("div", { class: "scroller", role: "region", "aria-label": label, tabindex: 0 }, content);
}

/**
 * Create the header row of a table.
 * @param {...string} names
 */
export function head(...names) {
  return element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name))));
}
