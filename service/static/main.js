/** Entry point: connects canvas, prediction, explanation, tabs and address. */

import * as address from "./address.js";
import * as api from "./api.js";
import { NetworkInputView } from "./network_input.js";
import { NumberView } from "./number.js";
import { Pad } from "./pad.js";
import { ComparePanel } from "./panels/compare.js";
import { FlowersPanel } from "./panels/flowers.js";
import { ReportPanel } from "./panels/report.js";
import { StepsPanel } from "./panels/steps.js";
import { WeightsPanel } from "./panels/weights.js";
import { PredictionView, verdict } from "./prediction.js";
import { RequestQueue } from "./request_queue.js";
import { Tabs } from "./tabs.js";
import { element, elementById } from "./view.js";

/**
 * @typedef {import("./api.js").Model} Model
 * @typedef {import("./api.js").Palette} Palette
 * @typedef {import("./api.js").Summary} Summary
 */

const NOTHING_DRAWN = "Nothing is drawn yet";
const IMAGE_TYPES = ["image/png", "image/jpeg", "image/webp"];

/** Delay before the service is tried again after a failure, in milliseconds. */
const RETRY_DELAY = 1500;

/** Delay before a prediction is announced to screen readers, in milliseconds: only the last of several is announced. */
const ANNOUNCE_DELAY = 700;

const pad = new Pad(elementById("pad", HTMLCanvasElement));
const prediction = new PredictionView(elementById("digit", HTMLElement), elementById("verdict", HTMLElement), elementById("bars", HTMLElement));
const networkInput = new NetworkInputView(
  elementById("sight", HTMLElement),
  elementById("seen", HTMLCanvasElement),
  elementById("shares", HTMLCanvasElement),
  elementById("reason", HTMLElement),
);
const number = new NumberView(
  elementById("number", HTMLElement),
  elementById("number-digits", HTMLElement),
  elementById("number-choices", HTMLElement),
  elementById("boxes", HTMLElement),
);
const tabs = new Tabs(elementById("tabs", HTMLElement), elementById("panels", HTMLElement), {
  steps: ["Step by step", StepsPanel],
  weights: ["Weights", WeightsPanel],
  compare: ["Compare", ComparePanel],
  report: ["Report", ReportPanel],
  flowers: ["Flowers", FlowersPanel],
});
const modelSelect = elementById("model", HTMLSelectElement);
const paletteSelect = elementById("palette", HTMLSelectElement);
const why = elementById("why", HTMLInputElement);
const file = elementById("file", HTMLInputElement);
const undo = elementById("undo", HTMLButtonElement);
const redo = elementById("redo", HTMLButtonElement);
const clear = elementById("clear", HTMLButtonElement);
const share = elementById("share", HTMLButtonElement);
const copyNumber = elementById("copy-number", HTMLButtonElement);
const notice = elementById("notice", HTMLElement);
const complaint = elementById("complaint", HTMLElement);
const live = elementById("live", HTMLElement);

/** @type {Summary[]} */
let served = [];
/** @type {Summary} The selected version. */
let selected;
/** @type {Model | null} The version that is selected by default. */
let defaultModel = null;
/** @type {string | null} The class to explain; null for the predicted one. */
let requestedLabel = null;
/** @type {string | null} The class that the shown shares explain. */
let explained = null;

let refreshing = new AbortController();
let announceTimer = 0;
let retryTimer = 0;
/** @type {Set<() => void>} Functions to run when the service responds again. */
const retries = new Set();

const requests = new RequestQueue(
  (/** @type {api.Explanation & {top: {label: string, probability: number}[], reading: api.Reading | null}} */ explanation) => {
    const byLabel = new Map(explanation.top.map(({ label, probability }) => [label, probability]));
    notice.hidden = true;
    explained = explanation.explained;
    prediction.show(explanation, byLabel);
    prediction.mark(explained);
    networkInput.show(why.checked, palette(), explanation);
    if (explanation.reading) {
      number.show(explanation.reading, pad.frame, selected.labels);
      showNumber();
    } else {
      showOneDigit();
      announce(`${explanation.label}. ${verdict(explanation, byLabel)}`);
    }
  },
  (error) => {
    if (error instanceof api.ApiError && error.status < 500) {
      notice.hidden = true;
      showNoPrediction(error.message);
      announce(error.message);
    } else {
      handleFailure(error, predict);
    }
  },
);

/** Request a prediction and its explanation for the drawing. */
function predict() {
  const drawing = pad.drawing;
  if (!selected) {
    return;
  }
  if (!drawing) {
    requests.cancel();
    requestedLabel = null;
    showNoPrediction(NOTHING_DRAWN);
    return;
  }
  const model = selected;
  const query = { include: "seen", top: String(model.labels.length), ...(requestedLabel !== null && { label: requestedLabel }) };
  requests.submit(async (signal) => {
    const explanation = /** @type {any} */ (await api.explain(model, drawing, query, signal));
    return { ...explanation, reading: explanation.several ? await read(model, drawing, signal) : null };
  });
}

/**
 * Read the number that a drawing shows.
 * @param {Model} model
 * @param {import("./drawing.js").Drawing} drawing
 * @param {AbortSignal} signal
 * @returns {Promise<api.Reading | null>}  Null if the service finds no number.
 */
async function read(model, drawing, signal) {
  try {
    const reading = await api.read(model, drawing, signal);
    return reading.digits.length > 1 ? reading : null;
  } catch (error) {
    if (error instanceof api.ApiError && error.status < 500) {
      return null; // it has more parts than a number may have
    }
    throw error;
  }
}

/** Show the number and its confidence in place of the probabilities of one digit. */
function showNumber() {
  elementById("bars", HTMLElement).hidden = elementById("bars-hint", HTMLElement).hidden = true;
  prediction.showNumber(number.text, number.verdict);
  announce(`Number ${number.text.replaceAll("\n", ", ")}. ${number.verdict}`);
}

function showOneDigit() {
  number.clear();
  elementById("bars", HTMLElement).hidden = elementById("bars-hint", HTMLElement).hidden = false;
}

/**
 * Show that there is no prediction.
 * @param {string} reason
 */
function showNoPrediction(reason) {
  explained = null;
  showOneDigit();
  prediction.clear(reason);
  prediction.mark(null);
  networkInput.clear();
}

/** Show the current state in the open tab. */
async function refresh() {
  refreshing.abort();
  refreshing = new AbortController();
  const { signal } = refreshing;
  if (!selected) {
    return;
  }
  try {
    await tabs.panel.show({
      model: { name: selected.name, version: selected.version },
      summary: selected,
      models: served,
      drawing: pad.drawing,
      label: explained,
      palette: palette(),
      signal,
      choose: (model) => void select(model),
      refresh: () => void refresh(),
    });
    complaint.hidden ||= !signal.aborted;
  } catch (error) {
    if (signal.aborted) {
      return;
    }
    if (error instanceof api.ApiError && error.status < 500) {
      complaint.textContent = error.message;
      complaint.hidden = false;
    } else {
      handleFailure(error, refresh);
    }
  }
}

/**
 * Show that the service does not respond, and retry until it does.
 * @param {unknown} error
 * @param {() => void} [retry]  Called when the service responds again.
 */
function handleFailure(error, retry) {
  if (!(error instanceof api.Offline || error instanceof api.ApiError)) {
    throw error; // a bug of this page: report it in the console
  }
  if (error instanceof api.ApiError && error.status === 401) { // a retry would fail too
    notice.textContent = "This service needs an API key, which this page cannot send. Programs can: see /docs.";
    notice.hidden = false;
    return;
  }
  if (retry) {
    retries.add(retry);
  }
  notice.textContent = `${error.message} Retrying…`;
  notice.hidden = false;
  clearTimeout(retryTimer);
  retryTimer = setTimeout(retryAll, RETRY_DELAY);
}

/** Check whether the service responds, and if so retry everything that failed. */
async function retryAll() {
  try {
    await api.models();
  } catch (error) {
    return handleFailure(error);
  }
  notice.hidden = true;
  const due = [...retries];
  retries.clear();
  for (const retry of due) {
    retry();
  }
}

/**
 * Announce a text to screen readers after a delay; a later text replaces it.
 * @param {string} text
 */
function announce(text) {
  clearTimeout(announceTimer);
  announceTimer = setTimeout(() => {
    live.textContent = text;
  }, ANNOUNCE_DELAY);
}

/** @returns {Palette} */
function palette() {
  return paletteSelect.value === "safe" ? "safe" : "lesson";
}

/** Write the state of the page into its address. */
function updateAddress() {
  const drawing = pad.drawing;
  const isDefault = !selected || (selected.name === defaultModel?.name && selected.version === defaultModel.version);
  const hash = address.write({
    strokes: drawing && "strokes" in drawing ? drawing.strokes : null,
    model: isDefault ? null : selected,
    tab: tabs.name === "steps" ? null : tabs.name,
  });
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname);
}

/**
 * Show the state in the address.
 * @returns {Model | null}  The version in the address.
 */
function readAddress() {
  const state = address.read(location.hash);
  tabs.choose(state.tab ?? "steps");
  if (state.strokes) {
    pad.draw(state.strokes);
  }
  return state.model;
}

/**
 * Select a version.
 * @param {Model} model
 */
async function select({ name, version }) {
  modelSelect.value = `${name}/${version}`;
  try {
    selected = served.find((model) => model.name === name && model.version === version) ?? (await api.summary({ name, version }));
  } catch (error) {
    return handleFailure(error, () => void select({ name, version }));
  }
  prediction.list(selected.labels);
  requestedLabel = null;
  updateAddress();
  predict();
  void refresh();
}

/** @param {Model} model */
function isServed({ name, version }) {
  return [...modelSelect.options].some(({ value }) => value === `${name}/${version}`);
}

/**
 * Load the list of models and select one.
 * @param {Model | null} requested  The version in the address.
 */
async function start(requested) {
  try {
    const { default: name, models } = await api.models();
    served = models;
    const digits = models.filter(api.acceptsDrawings);
    const newest = digits.find((model) => model.name === name) ?? digits[0];
    if (!newest) {
      notice.textContent = "No network for digits is served.";
      notice.hidden = false;
      return;
    }
    defaultModel = { name: newest.name, version: newest.version };
    modelSelect.replaceChildren(
      ...digits.flatMap((model) =>
        model.versions.map((version) => element("option", { value: `${model.name}/${version}` }, `${model.name} ${version}`)),
      ),
    );
    await select(requested && isServed(requested) ? requested : defaultModel);
  } catch (error) {
    handleFailure(error, () => void start(requested));
  }
}

/**
 * Copy a text to the clipboard, and show on a button for two seconds whether it worked.
 * @param {string} text
 * @param {HTMLButtonElement} button
 * @param {string} done
 * @param {string} failed  Where to copy the text from instead.
 */
async function copy(text, button, done, failed) {
  const before = button.dataset.text ?? button.textContent ?? "";
  button.dataset.text = before;
  try {
    await navigator.clipboard.writeText(text);
    live.textContent = button.textContent = done;
  } catch {
    live.textContent = button.textContent = failed;
  }
  setTimeout(() => {
    button.textContent = before;
  }, 2000);
}

/**
 * Show an image file on the canvas.
 * @param {Iterable<File>} files  The first image among them is used.
 */
async function showImage(files) {
  const image = [...files].find((candidate) => IMAGE_TYPES.includes(candidate.type));
  if (!image) {
    return showNoPrediction("Choose a PNG, JPEG or WebP file.");
  }
  try {
    await pad.show(image);
  } catch {
    showNoPrediction("This image file cannot be read.");
  }
}

pad.addEventListener("change", () => {
  const { drawing } = pad;
  number.reset();
  undo.disabled = !pad.canUndo;
  redo.disabled = !pad.canRedo;
  clear.disabled = !drawing;
  share.disabled = !drawing || "picture" in drawing;
  elementById("invitation", HTMLElement).hidden = Boolean(drawing);
  predict();
});
pad.addEventListener("settle", () => {
  updateAddress();
  void refresh();
});
pad.addEventListener("announce", (event) => {
  clearTimeout(announceTimer);
  live.textContent = /** @type {CustomEvent<string>} */ (event).detail;
});
prediction.addEventListener("choose", (event) => {
  const label = /** @type {CustomEvent<string>} */ (event).detail;
  requestedLabel = label === requestedLabel ? null : label;
  predict();
});
tabs.addEventListener("choose", () => {
  complaint.hidden = true;
  updateAddress();
  void refresh();
});

undo.addEventListener("click", () => pad.undo());
redo.addEventListener("click", () => pad.redo());
clear.addEventListener("click", () => pad.clear());
elementById("upload", HTMLButtonElement).addEventListener("click", () => file.click());
file.addEventListener("change", () => {
  void showImage(file.files ?? []);
  file.value = "";
});
share.addEventListener("click", () => {
  updateAddress();
  void copy(location.href, share, "Link copied", "Copy the address");
});
number.addEventListener("change", showNumber);
copyNumber.addEventListener("click", () => void copy(number.text, copyNumber, "Number copied", "Select the number"));
why.addEventListener("change", () => networkInput.show(why.checked, palette()));
modelSelect.addEventListener("change", () => {
  const [name, version] = modelSelect.value.split("/");
  void select({ name, version });
});
paletteSelect.addEventListener("change", () => {
  storePalette(paletteSelect.value);
  applyPalette();
});

document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement && event.target.type === "text";
  if (typing || !(event.ctrlKey || event.metaKey) || event.altKey) {
    return;
  }
  const key = event.key.toLowerCase();
  if (key === "z" || key === "y") {
    event.preventDefault();
    key === "y" || event.shiftKey ? pad.redo() : pad.undo();
  }
});
document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (!event.defaultPrevented && files.length) {
    event.preventDefault();
    void showImage(files);
  }
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  if (!event.defaultPrevented) {
    event.preventDefault();
    void showImage(event.dataTransfer?.files ?? []);
  }
});
window.addEventListener("hashchange", () => {
  const model = readAddress() ?? defaultModel;
  if (model && isServed(model)) {
    void select(model);
  }
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => pad.redraw());

/** Show everything in the selected palette. */
function applyPalette() {
  document.documentElement.dataset.palette = palette();
  networkInput.show(why.checked, palette());
  void refresh();
}

/**
 * Store the palette in the browser, if that is allowed.
 * @param {string} value
 */
function storePalette(value) {
  try {
    localStorage.setItem("palette", value);
  } catch {
    // storage may be disabled, as in private windows
  }
}

try {
  paletteSelect.value = localStorage.getItem("palette") === "safe" ? "safe" : "lesson";
} catch {
  // storage is disabled: keep the default
}
networkInput.clear();
applyPalette();
void start(readAddress());
