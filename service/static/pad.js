/** Drawing canvas: turns pointer and keyboard input into strokes, with undo and redo. It does no preprocessing. */

import { SIDE } from "./drawing.js";

/**
 * @typedef {import("./drawing.js").Drawing} Drawing
 * @typedef {import("./drawing.js").Stroke} Stroke
 * @typedef {import("./drawing.js").Point} Point
 *
 * @typedef {object} Content  Content of the canvas; immutable, each change creates a new one.
 * @property {Stroke[]} strokes
 * @property {{blob: Blob, image: ImageBitmap} | null} picture  An image file instead of strokes.
 */

/** Width of the pen on the screen, in canvas units; the service renders strokes with its own pen. */
const PEN_WIDTH = 46;

/** Smallest distance between two points of a stroke, in canvas units. */
const MIN_DISTANCE = 2;

/** Number of grid cells in each direction, for drawing with the keyboard. */
const CELLS = 20;
const CELL = SIDE / CELLS;

/** @type {Content} */
const BLANK = { strokes: [], picture: null };

/** @type {Record<string, Point>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * The canvas. Events: `change` when its content changes, `settle` when the pen is lifted, and `announce` with a
 * `detail` for screen readers while the keyboard draws.
 */
export class Pad extends EventTarget {
  #canvas;

  /** @type {Content} */
  #content = BLANK;
  /** @type {Content[]} */
  #past = [];
  /** @type {Content[]} */
  #future = [];

  /** @type {Stroke | null} The stroke that is being drawn: the last one of the content. */
  #stroke = null;
  /** @type {number | null} */
  #pointer = null;
  /** @type {Point} */
  #cursor = [SIDE / 2, SIDE / 4];
  #usesKeys = false;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    super();
    this.#canvas = canvas;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => this.#up(/** @type {PointerEvent} */ (event)));
    }
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("focus", () => this.redraw());
    canvas.addEventListener("blur", () => {
      this.#lift();
      this.#usesKeys = false;
      this.redraw();
    });
    new ResizeObserver(() => this.redraw()).observe(canvas);
  }

  /**
   * The drawing; null if the canvas is blank.
   * @returns {Drawing | null}
   */
  get drawing() {
    const { strokes, picture } = this.#content;
    if (picture) {
      return { picture: picture.blob };
    }
    return strokes.length ? { strokes } : null;
  }

  /**
   * Where the drawing lies on the canvas; `number.js` describes it.
   * @returns {import("./number.js").Frame}
   */
  get frame() {
    const image = this.#content.picture?.image;
    if (!image) {
      return { scale: 1, offset: [0, 0], margin: PEN_WIDTH / 2 };
    }
    const scale = SIDE / Math.max(image.width, image.height);
    return { scale, offset: [(SIDE - image.width * scale) / 2, (SIDE - image.height * scale) / 2], margin: 0 };
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  /**
   * Replace the content by strokes.
   * @param {Stroke[]} strokes
   */
  draw(strokes) {
    this.#replace({ strokes, picture: null });
  }

  /**
   * Replace the content by an image file.
   * @param {Blob} blob  The file.
   * @throws {DOMException} The browser cannot decode it.
   */
  async show(blob) {
    this.#replace({ strokes: [], picture: { blob, image: await createImageBitmap(blob) } });
  }

  clear() {
    if (this.drawing) {
      this.#replace(BLANK);
    }
  }

  undo() {
    this.#restore(this.#past, this.#future);
  }

  redo() {
    this.#restore(this.#future, this.#past);
  }

  /** Redraw the content, after a change of content, size or colours. */
  redraw() {
    const canvas = this.#canvas;
    const pixels = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
    if (canvas.width !== pixels) {
      [canvas.width, canvas.height] = [pixels, pixels];
    }
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const style = getComputedStyle(canvas);
    pen.setTransform(pixels / SIDE, 0, 0, pixels / SIDE, 0, 0);
    pen.clearRect(0, 0, SIDE, SIDE);
    pen.strokeStyle = style.color;
    pen.lineWidth = PEN_WIDTH;
    [pen.lineCap, pen.lineJoin] = ["round", "round"];
    const picture = this.#content.picture?.image;
    if (picture) {
      const scale = SIDE / Math.max(picture.width, picture.height);
      const [width, height] = [picture.width * scale, picture.height * scale];
      pen.drawImage(picture, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
    }
    for (const stroke of this.#content.strokes) {
      pen.beginPath();
      pen.moveTo(...stroke[0]);
      for (const point of stroke.length > 1 ? stroke.slice(1) : stroke) {
        pen.lineTo(...point);
      }
      pen.stroke();
    }
    if (this.#usesKeys && /** @type {Document | ShadowRoot} */ (canvas.getRootNode()).activeElement === canvas) {
      pen.strokeStyle = style.getPropertyValue("--accent");
      pen.lineWidth = SIDE / 120;
      pen.beginPath();
      pen.arc(...this.#cursor, CELL * (this.#stroke ? 0.5 : 0.9), 0, 2 * Math.PI);
      pen.stroke();
    }
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (this.#pointer !== null || event.button !== 0) {
      return;
    }
    this.#lift();
    this.#usesKeys = false;
    this.#pointer = event.pointerId;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#begin(this.#position(event));
  }

  /** @param {PointerEvent} event */
  #move(event) {
    if (event.pointerId !== this.#pointer) {
      return;
    }
    const moves = event.getCoalescedEvents?.() ?? [];
    if (this.#extend((moves.length ? moves : [event]).map((move) => this.#position(move)))) {
      this.#changed();
    }
  }

  /** @param {PointerEvent} event */
  #up(event) {
    if (event.pointerId === this.#pointer) {
      this.#pointer = null;
      this.#lift();
    }
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const arrow = ARROWS[event.key];
    if (arrow) {
      const within = (/** @type {number} */ value) => Math.min(Math.max(value, CELL), SIDE - CELL);
      this.#cursor = [within(this.#cursor[0] + arrow[0] * CELL), within(this.#cursor[1] + arrow[1] * CELL)];
      if (this.#stroke && this.#pointer === null && this.#extend([this.#cursor])) {
        this.#changed();
      }
      this.#announce(this.#cursorText());
    } else if (event.key === " " || event.key === "Enter") {
      if (event.repeat) {
        return event.preventDefault();
      }
      if (this.#stroke) {
        this.#lift();
        this.#announce("Pen up.");
      } else {
        this.#begin(this.#cursor);
        this.#announce(`Pen down at ${this.#cursorText()}`);
      }
    } else if (event.key === "Escape" && this.#stroke) {
      this.#lift();
      this.#announce("Pen up.");
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
    } else {
      return;
    }
    event.preventDefault();
    this.#usesKeys = true;
    this.redraw();
  }

  #cursorText() {
    const [column, row] = this.#cursor.map((value) => Math.round(value / CELL));
    return `column ${column}, row ${row}`;
  }

  /**
   * @param {PointerEvent} event
   * @returns {Point}
   */
  #position(event) {
    const box = this.#canvas.getBoundingClientRect();
    const within = (/** @type {number} */ share) => Math.round(Math.min(Math.max(share, 0), 1) * SIDE);
    return [within((event.clientX - box.left) / box.width), within((event.clientY - box.top) / box.height)];
  }

  /** @param {Point} point */
  #begin(point) {
    this.#stroke = [point];
    this.#pushHistory();
    this.#content = { strokes: [...this.#content.strokes, this.#stroke], picture: null };
    this.#changed();
  }

  /**
   * @param {Point[]} points
   * @returns {boolean}  Whether points were added.
   */
  #extend(points) {
    const stroke = /** @type {Stroke} */ (this.#stroke);
    const before = stroke.length;
    for (const point of points) {
      const [x, y] = stroke[stroke.length - 1];
      if (Math.hypot(point[0] - x, point[1] - y) > MIN_DISTANCE) {
        stroke.push(point);
      }
    }
    return stroke.length > before;
  }

  #lift() {
    if (this.#stroke) {
      this.#stroke = null;
      this.dispatchEvent(new Event("settle"));
    }
  }

  /** @param {Content} content */
  #replace(content) {
    this.#endStroke();
    this.#pushHistory();
    this.#content = content;
    this.#changed();
    this.dispatchEvent(new Event("settle"));
  }

  /**
   * @param {Content[]} from
   * @param {Content[]} to
   */
  #restore(from, to) {
    this.#endStroke();
    const content = from.pop();
    if (content) {
      to.push(this.#content);
      this.#content = content;
      this.#changed();
      this.dispatchEvent(new Event("settle"));
    }
  }

  /** Abandon the stroke that is being drawn; further pointer events of it are ignored. */
  #endStroke() {
    this.#stroke = null;
    this.#pointer = null;
  }

  #pushHistory() {
    this.#past.push(this.#content);
    this.#future = [];
  }

  #changed() {
    this.redraw();
    this.dispatchEvent(new Event("change"));
  }

  /** @param {string} text */
  #announce(text) {
    this.dispatchEvent(new CustomEvent("announce", { detail: text }));
  }
}
