/** Tabs, as the ARIA Authoring Practices describe them: one is open, arrow keys go from one to the next. */

import { element } from "./view.js";

/** @typedef {import("./view.js").Panel} Panel */

/** A list of tabs and their panels. Event: `choose`, when somebody opens another. */
export class Tabs extends EventTarget {
  /** @type {Map<string, {tab: HTMLButtonElement, root: HTMLElement, panel: Panel}>} */
  #all = new Map();
  #name;

  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} panels
   * @param {Record<string, [string, new (root: HTMLElement) => Panel]>} kinds  By name: the title and the panel.
   */
  constructor(list, panels, kinds) {
    super();
    for (const [name, [title, Kind]] of Object.entries(kinds)) {
      const tab = element(
        "button",
        { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, click: () => this.#pick(name) },
        title,
      );
      const root = element("div", { role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}`, hidden: true });
      list.append(tab);
      panels.append(root);
      this.#all.set(name, { tab, root, panel: new Kind(root) });
    }
    this.#name = Object.keys(kinds)[0];
    list.addEventListener("keydown", (event) => this.#key(event));
    this.choose(this.#name);
  }

  /** The open panel's name. */
  get name() {
    return this.#name;
  }

  /** The open panel. */
  get open() {
    return /** @type {{panel: Panel}} */ (this.#all.get(this.#name)).panel;
  }

  /**
   * Open a panel; an unknown name changes nothing.
   * @param {string} name
   */
  choose(name) {
    if (!this.#all.has(name)) {
      return;
    }
    this.#name = name;
    for (const [other, { tab, root }] of this.#all) {
      tab.setAttribute("aria-selected", String(other === name));
      tab.tabIndex = other === name ? 0 : -1;
      root.hidden = other !== name;
    }
  }

  /** @param {string} name */
  #pick(name) {
    this.choose(name);
    this.dispatchEvent(new Event("choose"));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const names = [...this.#all.keys()];
    const at = names.indexOf(this.#name);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1 + names.length, Home: 0, End: names.length - 1 }[event.key];
    if (next !== undefined) {
      event.preventDefault();
      this.#pick(names[next % names.length]);
      this.#all.get(this.#name)?.tab.focus();
    }
  }
}
