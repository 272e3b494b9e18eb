/** Joins the parts: the only file that touches all of them. */

import * as address from "./address.js";
import { AnswerView, verdict } from "./answer.js";
import * as api from "./api.js";
import { Asker } from "./ask.js";
import { Pad } from "./pad.js";
import { ComparePanel } from "./panels/compare.js";
import { FlowersPanel } from "./panels/flowers.js";
import { ReportPanel } from "./panels/report.js";
import { StepsPanel } from "./panels/steps.js";
import { WeightsPanel } from "./panels/weights.js";
import { SightView } from "./sight.js";
import { Tabs } from "./tabs.js";
import { element, part } from "./view.js";

/**
 * @typedef {import("./api.js").Model} Model
 * @typedef {import("./api.js").Palette} Palette
 * @typedef {import("./api.js").Summary} Summary
 */

const NOTHING_DRAWN = "Nothing is drawn yet";
const PICTURES = ["image/png", "image/jpeg", "image/webp"];

/** How long to wait before the service is asked again that did not answer, in milliseconds. */
const PAUSE = 1500;

/** How long an answer stands before it is spoken, in milliseconds: nobody wants to hear all of them. */
const QUIET = 700;

const pad = new Pad(part("pad", HTMLCanvasElement));
const answer = new AnswerView(part("digit", HTMLElement), part("verdict", HTMLElement), part("bars", HTMLElement));
const sight = new SightView(
  part("sight", HTMLElement),
  part("seen", HTMLCanvasElement),
  part("shares", HTMLCanvasElement),
  part("reason", HTMLElement),
);
const tabs = new Tabs(part("tabs", HTMLElement), part("panels", HTMLElement), {
  steps: ["Step by step", StepsPanel],
  weights: ["Weights", WeightsPanel],
  compare: ["Compare", ComparePanel],
  report: ["Report", ReportPanel],
  flowers: ["Flowers", FlowersPanel],
});
const modelChoice = part("model", HTMLSelectElement);
const paletteChoice = part("palette", HTMLSelectElement);
const why = part("why", HTMLInputElement);
const file = part("file", HTMLInputElement);
const undo = part("undo", HTMLButtonElement);
const redo = part("redo", HTMLButtonElement);
const clear = part("clear", HTMLButtonElement);
const share = part("share", HTMLButtonElement);
const notice = part("notice", HTMLElement);
const complaint = part("complaint", HTMLElement);
const live = part("live", HTMLElement);

/** @type {Summary[]} */
let served = [];
/** @type {Summary} The chosen version. */
let chosen;
/** @type {Model | null} The version for those who choose none. */
let usual = null;
/** @type {string | null} The class that somebody asked about; nothing for the likeliest. */
let asked = null;
/** @type {string | null} The class that the shares on the page are of. */
let explained = null;

let showing = new AbortController();
let speaking = 0;
let again = 0;
/** @type {Set<() => void>} What is to be done once the service answers. */
const retries = new Set();

const asker = new Asker(
  (/** @type {api.Explanation & {top: {label: string, probability: number}[]}} */ told) => {
    const byLabel = new Map(told.top.map(({ label, probability }) => [label, probability]));
    notice.hidden = true;
    explained = told.explained;
    answer.show(told, byLabel);
    answer.mark(explained);
    sight.show(why.checked, palette(), told);
    speak(`${told.label}. ${verdict(told, byLabel)}`);
  },
  (error) => {
    if (error instanceof api.ApiError && error.status < 500) {
      notice.hidden = true;
      forget(error.message);
      speak(error.message);
    } else {
      trouble(error, ask);
    }
  },
);

/** Ask what the drawing shows. */
function ask() {
  const drawing = pad.drawing;
  if (!chosen) {
    return;
  }
  if (!drawing) {
    asker.cancel();
    asked = null;
    forget(NOTHING_DRAWN);
    return;
  }
  const model = chosen;
  const query = { include: "seen", top: String(model.labels.length), ...(asked !== null && { label: asked }) };
  asker.ask((signal) => /** @type {Promise<any>} */ (api.explain(model, drawing, query, signal)));
}

/**
 * Show that there is no answer.
 * @param {string} words
 */
function forget(words) {
  explained = null;
  answer.clear(words);
  answer.mark(null);
  sight.clear();
}

/** Show the open tab as things are now. */
async function refresh() {
  showing.abort();
  showing = new AbortController();
  const { signal } = showing;
  if (!chosen) {
    return;
  }
  try {
    await tabs.open.show({
      model: { name: chosen.name, version: chosen.version },
      summary: chosen,
      models: served,
      drawing: pad.drawing,
      label: explained,
      palette: palette(),
      signal,
      choose: (model) => void choose(model),
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
      trouble(error, refresh);
    }
  }
}

/**
 * Say that the service does not answer, and try again as soon as it does.
 * @param {unknown} error
 * @param {() => void} [retry]
 */
function trouble(error, retry) {
  if (!(error instanceof api.Offline || error instanceof api.ApiError)) {
    throw error; // a mistake of this page, for the console
  }
  if (error instanceof api.ApiError && error.status === 401) { // and will be the next time, too
    notice.textContent = "This service needs an API key, which this page cannot send. Programs can: see /docs.";
    notice.hidden = false;
    return;
  }
  if (retry) {
    retries.add(retry);
  }
  notice.textContent = `${error.message} Trying again…`;
  notice.hidden = false;
  clearTimeout(again);
  again = setTimeout(wake, PAUSE);
}

/** Ask whether the service answers again, and then for all that it did not answer. */
async function wake() {
  try {
    await api.models();
  } catch (error) {
    return trouble(error);
  }
  notice.hidden = true;
  const due = [...retries];
  retries.clear();
  for (const retry of due) {
    retry();
  }
}

/**
 * Speak to those who cannot see, once all is quiet.
 * @param {string} words
 */
function speak(words) {
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    live.textContent = words;
  }, QUIET);
}

/** @returns {Palette} */
function palette() {
  return paletteChoice.value === "safe" ? "safe" : "lesson";
}

/** Let the address hold what the page shows. */
function note() {
  const drawing = pad.drawing;
  const isUsual = !chosen || (chosen.name === usual?.name && chosen.version === usual.version);
  const hash = address.write({
    strokes: drawing && "strokes" in drawing ? drawing.strokes : null,
    model: isUsual ? null : chosen,
    tab: tabs.name === "steps" ? null : tabs.name,
  });
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname);
}

/**
 * Show what the address holds.
 * @returns {Model | null}  The version that it names.
 */
function follow() {
  const place = address.read(location.hash);
  tabs.choose(place.tab ?? "steps");
  if (place.strokes) {
    pad.draw(place.strokes);
  }
  return place.model;
}

/**
 * Make a version the chosen one.
 * @param {Model} model
 */
async function choose({ name, version }) {
  modelChoice.value = `${name}/${version}`;
  try {
    chosen = served.find((model) => model.name === name && model.version === version) ?? (await api.summary({ name, version }));
  } catch (error) {
    return trouble(error, () => void choose({ name, version }));
  }
  answer.list(chosen.labels);
  asked = null;
  note();
  ask();
  void refresh();
}

/** @param {Model} model */
function isServed({ name, version }) {
  return [...modelChoice.options].some(({ value }) => value === `${name}/${version}`);
}

/**
 * Learn what is served, and begin.
 * @param {Model | null} wanted  The version that the address names.
 */
async function begin(wanted) {
  try {
    const { default: name, models } = await api.models();
    served = models;
    const digits = models.filter((model) => model.input.join() === "28,28");
    const newest = digits.find((model) => model.name === name) ?? digits[0];
    if (!newest) {
      notice.textContent = "No network for digits is served.";
      notice.hidden = false;
      return;
    }
    usual = { name: newest.name, version: newest.version };
    modelChoice.replaceChildren(
      ...digits.flatMap((model) =>
        model.versions.map((version) => element("option", { value: `${model.name}/${version}` }, `${model.name} ${version}`)),
      ),
    );
    await choose(wanted && isServed(wanted) ? wanted : usual);
  } catch (error) {
    trouble(error, () => void begin(wanted));
  }
}

/**
 * Put a picture file on the paper.
 * @param {Iterable<File>} files
 */
async function take(files) {
  const picture = [...files].find((candidate) => PICTURES.includes(candidate.type));
  if (!picture) {
    return forget("A PNG, JPEG or WebP picture is needed.");
  }
  try {
    await pad.show(picture);
  } catch {
    forget("This picture cannot be read.");
  }
}

pad.addEventListener("change", () => {
  const { drawing } = pad;
  undo.disabled = !pad.canUndo;
  redo.disabled = !pad.canRedo;
  clear.disabled = !drawing;
  share.disabled = !drawing || "picture" in drawing;
  part("invitation", HTMLElement).hidden = Boolean(drawing);
  ask();
});
pad.addEventListener("settle", () => {
  note();
  void refresh();
});
pad.addEventListener("say", (event) => {
  clearTimeout(speaking);
  live.textContent = /** @type {CustomEvent<string>} */ (event).detail;
});
answer.addEventListener("choose", (event) => {
  const label = /** @type {CustomEvent<string>} */ (event).detail;
  asked = label === asked ? null : label;
  ask();
});
tabs.addEventListener("choose", () => {
  complaint.hidden = true;
  note();
  void refresh();
});

undo.addEventListener("click", () => pad.undo());
redo.addEventListener("click", () => pad.redo());
clear.addEventListener("click", () => pad.clear());
part("upload", HTMLButtonElement).addEventListener("click", () => file.click());
file.addEventListener("change", () => {
  void take(file.files ?? []);
  file.value = "";
});
share.addEventListener("click", async () => {
  note();
  try {
    await navigator.clipboard.writeText(location.href);
    live.textContent = share.textContent = "Link copied";
  } catch {
    live.textContent = share.textContent = "Copy the address";
  }
  setTimeout(() => {
    share.textContent = "Copy link";
  }, 2000);
});
why.addEventListener("change", () => sight.show(why.checked, palette()));
modelChoice.addEventListener("change", () => {
  const [name, version] = modelChoice.value.split("/");
  void choose({ name, version });
});
paletteChoice.addEventListener("change", () => {
  keep(paletteChoice.value);
  dress();
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
    void take(files);
  }
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  if (!event.defaultPrevented) {
    event.preventDefault();
    void take(event.dataTransfer?.files ?? []);
  }
});
window.addEventListener("hashchange", () => {
  const model = follow() ?? usual;
  if (model && isServed(model)) {
    void choose(model);
  }
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => pad.redraw());

/** Show everything in the chosen colours. */
function dress() {
  document.documentElement.dataset.palette = palette();
  sight.show(why.checked, palette());
  void refresh();
}

/**
 * Remember the palette, where the browser allows it.
 * @param {string} value
 */
function keep(value) {
  try {
    localStorage.setItem("palette", value);
  } catch {
    // private windows may keep nothing
  }
}

try {
  paletteChoice.value = localStorage.getItem("palette") === "safe" ? "safe" : "lesson";
} catch {
  // the usual one, then
}
sight.clear();
dress();
void begin(follow());
