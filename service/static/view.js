/** Elements and pictures: sets text, never markup, and colours in canvases, never in style attributes. */

/**
 * @typedef {import("./api.js").Palette} Palette
 * @typedef {import("./api.js").Summary} Summary
 * @typedef {import("./api.js").Model} Model
 * @typedef {import("./drawing.js").Drawing} Drawing
 *
 * @typedef {object} Shown  What a panel is shown.
 * @property {Model} model  The chosen version.
 * @property {Summary} summary  Of the chosen version.
 * @property {Summary[]} models  Everything that is served, each model by its newest version.
 * @property {Drawing | null} drawing
 * @property {string | null} label  The class that the shares are of.
 * @property {Palette} palette
 * @property {AbortSignal} signal  Aborted as soon as something newer is to be shown.
 * @property {(model: Model) => void} choose  Makes another version the chosen one.
 * @property {() => void} refresh  Shows the panel again, and again once the service answers if it does not.
 *
 * @typedef {object} Panel  One tab.
 * @property {(shown: Shown) => Promise<void> | void} show  Shows itself, leaving what it shows until the new is there.
 */

/** The colours of +1 and of -1, as the service's weight images have them. */
const INKS = {
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
 * Make an element.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number | boolean | ((event: any) => void)>} [properties]  Attributes; functions listen
 *   to the event of that name; true and false set and leave out an attribute.
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") {
      made.addEventListener(name, value);
    } else if (typeof value === "boolean") {
      made.toggleAttribute(name, value);
    } else {
      made.setAttribute(name, String(value));
    }
  }
  made.append(...children);
  return made;
}

/**
 * Return the element with an id; a page without it is broken.
 *
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new (...args: any[]) => T} type
 * @returns {T}
 */
export function part(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) {
    throw new Error(`The page has no ${type.name} #${id}.`);
  }
  return found;
}

/**
 * Write a probability: `98.3 %`, never 100 or 0 for what is only nearly so.
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
 * Set how long a bar is.
 * @param {HTMLElement} bar
 * @param {number} share  0 to 1.
 */
export function stretch(bar, share) {
  bar.style.setProperty("--share", String(share));
}

/**
 * Paint what a network sees: grey of one number a pixel, white ink on black, or colours of three.
 * @param {HTMLCanvasElement} canvas
 * @param {any} seen  [height][width], or [height][width][3], 0 to 255.
 */
export function paintSeen(canvas, seen) {
  paint(canvas, seen, (/** @type {any} */ pixel) => (Array.isArray(pixel) ? [...pixel, 255] : [pixel, pixel, pixel, 255]));
}

/**
 * Paint shares as the lesson paints weights, with v = share / max|share|; see `service/core/network/weight_images.py`.
 * @param {HTMLCanvasElement} canvas
 * @param {number[][]} shares  [height][width].
 * @param {Palette} palette
 */
export function paintShares(canvas, shares, palette) {
  const most = Math.max(...shares.flat().map(Math.abs)) || 1;
  const [plus, minus] = INKS[palette];
  paint(canvas, shares, (share) => {
    const v = share / most;
    const ink = v > 0 ? plus : minus;
    return [...ink.map((value) => 255 - Math.abs(v) * (255 - value)), v ? 255 : 0];
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
 * Write a whole number: `60,000`.
 * @param {number} number
 */
export function count(number) {
  return number.toLocaleString("en-GB");
}

/**
 * Put something wide into a box of its own that scrolls, by keyboard too, so that the page need not.
 * @param {string} label  What is in it.
 * @param {Node} wide
 */
export function scroller(label, wide) {
  return element("div", { class: "scroller", role: "region", "aria-label": label, tabindex: 0 }, wide);
}

/**
 * Make a table's header row.
 * @param {...string} names
 */
export function head(...names) {
  return element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name))));
}
