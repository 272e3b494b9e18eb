/** The paper: pointer and keyboard to strokes, with a history. It draws what was drawn, and prepares nothing. */

import { SIDE } from "./drawing.js";

/**
 * @typedef {import("./drawing.js").Drawing} Drawing
 * @typedef {import("./drawing.js").Stroke} Stroke
 * @typedef {import("./drawing.js").Point} Point
 *
 * @typedef {object} Page  What lies on the paper at one moment; never changed, only followed by another.
 * @property {Stroke[]} strokes
 * @property {{blob: Blob, image: ImageBitmap} | null} picture  Instead of strokes.
 */

/** Width of the pen on the screen, in the paper's units; the service draws with its own. */
const PEN = 46;

/** Points closer than this to the one before are left out, in the paper's units. */
const NEAR = 2;

/** Cells of the grid on which the keyboard draws, in each direction. */
const CELLS = 20;
const CELL = SIDE / CELLS;

/** @type {Page} */
const BLANK = { strokes: [], picture: null };

/** @type {Record<string, Point>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * The paper. Events: `change` whenever something else lies on it, `settle` once the pen rests, and `say` with
 * a `detail` for those who cannot see the keyboard's pen.
 */
export class Pad extends EventTarget {
  #canvas;

  /** @type {Page} */
  #page = BLANK;
  /** @type {Page[]} */
  #past = [];
  /** @type {Page[]} */
  #future = [];

  /** @type {Stroke | null} The stroke that a pointer or the keyboard is drawing; the last one on the page. */
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
   * What is on the paper; nothing if it is blank.
   * @returns {Drawing | null}
   */
  get drawing() {
    const { strokes, picture } = this.#page;
    if (picture) {
      return { picture: picture.blob };
    }
    return strokes.length ? { strokes } : null;
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  /**
   * Put strokes on the paper instead of what is there.
   * @param {Stroke[]} strokes
   */
  draw(strokes) {
    this.#turn({ strokes, picture: null });
  }

  /**
   * Put a picture on the paper instead of what is there.
   * @param {Blob} blob  A picture file.
   * @throws {DOMException} The browser cannot read it.
   */
  async show(blob) {
    this.#turn({ strokes: [], picture: { blob, image: await createImageBitmap(blob) } });
  }

  clear() {
    if (this.drawing) {
      this.#turn(BLANK);
    }
  }

  undo() {
    this.#leaf(this.#past, this.#future);
  }

  redo() {
    this.#leaf(this.#future, this.#past);
  }

  /** Draw all that is on the paper anew: its size or its colours are others now. */
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
    pen.lineWidth = PEN;
    [pen.lineCap, pen.lineJoin] = ["round", "round"];
    const picture = this.#page.picture?.image;
    if (picture) {
      const scale = SIDE / Math.max(picture.width, picture.height);
      const [width, height] = [picture.width * scale, picture.height * scale];
      pen.drawImage(picture, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
    }
    for (const stroke of this.#page.strokes) {
      pen.beginPath();
      pen.moveTo(...stroke[0]);
      for (const point of stroke.length > 1 ? stroke.slice(1) : stroke) {
        pen.lineTo(...point);
      }
      pen.stroke();
    }
    if (this.#usesKeys && document.activeElement === canvas) {
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
    this.#begin(this.#place(event));
  }

  /** @param {PointerEvent} event */
  #move(event) {
    if (event.pointerId !== this.#pointer) {
      return;
    }
    const moves = event.getCoalescedEvents?.() ?? [];
    if (this.#extend((moves.length ? moves : [event]).map((move) => this.#place(move)))) {
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
      const within = (/** @type {number} */ at) => Math.min(Math.max(at, CELL), SIDE - CELL);
      this.#cursor = [within(this.#cursor[0] + arrow[0] * CELL), within(this.#cursor[1] + arrow[1] * CELL)];
      if (this.#stroke && this.#pointer === null && this.#extend([this.#cursor])) {
        this.#changed();
      }
      this.#say(this.#where());
    } else if (event.key === " " || event.key === "Enter") {
      if (event.repeat) {
        return event.preventDefault();
      }
      if (this.#stroke) {
        this.#lift();
        this.#say("Pen up.");
      } else {
        this.#begin(this.#cursor);
        this.#say(`Pen down at ${this.#where()}`);
      }
    } else if (event.key === "Escape" && this.#stroke) {
      this.#lift();
      this.#say("Pen up.");
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
    } else {
      return;
    }
    event.preventDefault();
    this.#usesKeys = true;
    this.redraw();
  }

  #where() {
    const [column, row] = this.#cursor.map((at) => Math.round(at / CELL));
    return `column ${column}, row ${row}`;
  }

  /**
   * @param {PointerEvent} event
   * @returns {Point}
   */
  #place(event) {
    const box = this.#canvas.getBoundingClientRect();
    const within = (/** @type {number} */ share) => Math.round(Math.min(Math.max(share, 0), 1) * SIDE);
    return [within((event.clientX - box.left) / box.width), within((event.clientY - box.top) / box.height)];
  }

  /** @param {Point} point */
  #begin(point) {
    this.#stroke = [point];
    this.#remember();
    this.#page = { strokes: [...this.#page.strokes, this.#stroke], picture: null };
    this.#changed();
  }

  /**
   * @param {Point[]} points
   * @returns {boolean}  Whether the stroke has grown.
   */
  #extend(points) {
    const stroke = /** @type {Stroke} */ (this.#stroke);
    const before = stroke.length;
    for (const point of points) {
      const [x, y] = stroke[stroke.length - 1];
      if (Math.hypot(point[0] - x, point[1] - y) > NEAR) {
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

  /** @param {Page} page */
  #turn(page) {
    this.#end();
    this.#remember();
    this.#page = page;
    this.#changed();
    this.dispatchEvent(new Event("settle"));
  }

  /**
   * @param {Page[]} from
   * @param {Page[]} to
   */
  #leaf(from, to) {
    this.#end();
    const page = from.pop();
    if (page) {
      to.push(this.#page);
      this.#page = page;
      this.#changed();
      this.dispatchEvent(new Event("settle"));
    }
  }

  /** Put an end to a stroke in the middle: what is still drawn of it goes nowhere. */
  #end() {
    this.#stroke = null;
    this.#pointer = null;
  }

  #remember() {
    this.#past.push(this.#page);
    this.#future = [];
  }

  #changed() {
    this.redraw();
    this.dispatchEvent(new Event("change"));
  }

  /** @param {string} words */
  #say(words) {
    this.dispatchEvent(new CustomEvent("say", { detail: words }));
  }
}
