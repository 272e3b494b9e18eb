/** Tabs as in the ARIA Authoring Practices: one is open, arrow keys move between them. */

import { element } from "./view.js";

/** @typedef {import("./view.js").Panel} Panel */

/** A list of tabs and their panels. Event: `choose`, when the user opens another tab. */
export class Tabs extends EventTarget {
  /** @type {Map<string, {tab: HTMLButtonElement, root: HTMLElement, panel: Panel}>} */
  #tabs = new Map();
  #name;

  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} panels
   * @param {Record<string, [string, new (root: HTMLElement) => Panel]>} kinds  By name: title and panel class.
   */
  constructor(list, panels, kinds) {
    super();
    for (const [name, [title, Kind]] of Object.entries(kinds)) {
      const tab = element(
        "button",
        { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, click: () => this.#open(name) },
        title,
      );
      const root = element("div", { role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}`, hidden: true });
      list.append(tab);
      panels.append(root);
      this.#tabs.set(name, { tab, root, panel: new Kind(root) });
    }
    this.#name = Object.keys(kinds)[0];
    list.addEventListener("keydown", (event) => this.#key(event));
    this.choose(this.#name);
  }

  /** Name of the open panel. */
  get name() {
    return this.#name;
  }

  /** The open panel. */
  get panel() {
    return /** @type {{panel: Panel}} */ (this.#tabs.get(this.#name)).panel;
  }

  /**
   * Open a panel; an unknown name is ignored.
   * @param {string} name
   */
  choose(name) {
    if (!this.#tabs.has(name)) {
      return;
    }
    this.#name = name;
    for (const [other, { tab, root }] of this.#tabs) {
      tab.setAttribute("aria-selected", String(other === name));
      tab.tabIndex = other === name ? 0 : -1;
      root.hidden = other !== name;
    }
  }

  /** @param {string} name */
  #open(name) {
    this.choose(name);
    this.dispatchEvent(new Event("choose"));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const names = [...this.#tabs.keys()];
    const index = names.indexOf(this.#name);
    const next = { ArrowRight: index + 1, ArrowLeft: index - 1 + names.length, Home: 0, End: names.length - 1 }[event.key];
    if (next !== undefined) {
      event.preventDefault();
      this.#open(names[next % names.length]);
      this.#tabs.get(this.#name)?.tab.focus();
    }
  }
}
