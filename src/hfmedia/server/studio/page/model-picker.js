// The model picker: every model that a provider runs now, found by a few letters; the ones used last come first.

import { api } from "./api.js";
import { button, closeBeside, el, find, retext } from "./dom.js";
import { device } from "./storage.js";
import { inOneLine, plural } from "./format.js";

const FRESH = 5 * 60_000; // milliseconds a list is good for; the gateway's own is renewed as slowly
const PAGE = 60; // rows drawn at a time
const REMEMBERED = 6;
const dialog = find("#models");
closeBeside(dialog);
const lists = new Map(); // task -> { at, models: promise }
const abilities = new Map(); // model -> { at, told: promise }

function held(store, key, load) {
  const known = store.get(key);
  if (known && Date.now() - known.at < FRESH) return known.told;
  const told = load();
  store.set(key, { at: Date.now(), told });
  told.catch(() => store.delete(key));
  return told;
}

/** One model, with what each of its providers takes. */
export const modelFacts = (id) => held(abilities, id, () => api.model(id));
const modelsFor = (task) => held(lists, task, async () => (await api.models(task)).data);

/** Puts a model first among the ones used last. */
export function remember(task, id) {
  const recent = device.read("recent", {}) ?? {};
  recent[task] = [id, ...(recent[task] ?? []).filter((one) => one !== id)].slice(0, REMEMBERED);
  device.write("recent", recent);
}

const recentOf = (task) => {
  const found = device.read("recent", {})?.[task];
  return Array.isArray(found) ? found.filter((one) => typeof one === "string") : [];
};

/** Lets a person choose a model for a task; resolves with its name, "" for automatic, null if nothing was chosen. */
export function pick(task, current) {
  return new Promise((resolve) => {
    let answer = null;
    const picker = new Picker(task, current, (id) => {
      answer = id;
      dialog.close();
    });
    dialog.replaceChildren(...picker.parts());
    dialog.addEventListener("close", () => {
      dialog.replaceChildren();
      resolve(answer);
    }, { once: true });
    dialog.showModal();
    picker.begin();
  });
}

class Picker {
  constructor(task, current, choose) {
    Object.assign(this, { task, current, choose, models: [], rows: [], drawn: 0, active: -1, reading: true, trouble: "" });
    this.input = el("input", {
      type: "search", role: "combobox", "aria-expanded": "true", "aria-controls": "model-list", "aria-label": "Search models",
      "aria-autocomplete": "list", placeholder: "Search models", autocomplete: "off", spellcheck: "false", id: "model-search", maxlength: 200,
      on: { input: () => this.draw(), keydown: (event) => this.key(event) },
    });
    this.list = el("div", { id: "model-list", role: "listbox", "aria-label": "Models", class: "rows", on: { scroll: () => this.near() && this.grow() } });
    this.count = el("p", { class: "hint", role: "status" });
  }

  parts() {
    const head = el("div", { class: "sheet-head" },
      el("h2", { id: "models-title", text: `Models for ${this.task.replaceAll("-", " ")}` }),
      button("", () => dialog.close(), { kind: "quiet round", drawn: "close", label: "Close" }));
    return [head, this.input, this.count, this.list];
  }

  async begin() {
    this.input.focus();
    this.draw();
    try {
      this.models = await modelsFor(this.task);
    } catch (trouble) {
      this.trouble = inOneLine(trouble);
    }
    this.reading = false;
    this.draw();
  }

  draw() {
    const words = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.models.filter((model) => words.every((word) => model.id.toLowerCase().includes(word)));
    const recent = words.length ? [] : recentOf(this.task).map((id) => this.models.find((model) => model.id === id)).filter(Boolean);
    const typed = this.input.value.trim();
    this.rows = [
      ...(words.length ? [] : [{ id: "", title: "Automatic", facts: "The gateway's usual model for this" }]),
      ...recent.map((model) => ({ ...row(model, this.task), facts: `Used lately · ${row(model, this.task).facts}` })),
      ...found.filter((model) => !recent.includes(model)).map((model) => row(model, this.task)),
      ...(!found.length && !this.reading && /^[\w.-]+\/[\w.-]+$/.test(typed) ? [{ id: typed, title: typed, facts: this.trouble ? "Use it as typed" : "Not in the list; use it as typed" }] : []),
    ];
    const none = words.length ? "No model of that name. Try fewer letters." : "There is no model for this here.";
    retext(this.count, this.reading ? "Reading the list…" : this.trouble || (found.length ? plural(found.length, "model") : none));
    this.list.replaceChildren();
    this.list.scrollTop = 0;
    this.drawn = 0;
    this.grow();
    this.mark(words.length ? 0 : Math.max(0, this.rows.findIndex((one) => one.id === this.current)));
  }

  near() {
    return this.list.scrollTop + this.list.clientHeight > this.list.scrollHeight - 400;
  }

  grow() {
    const next = this.rows.slice(this.drawn, this.drawn + PAGE);
    this.list.append(...next.map((one, at) => this.option(one, this.drawn + at)));
    this.drawn += next.length;
  }

  option(one, at) {
    return el("div", {
      role: "option", id: `model-${at}`, class: "option", "aria-selected": String(one.id === this.current),
      on: { click: () => this.choose(one.id), mousemove: () => this.active !== at && this.mark(at, false) },
    }, el("span", { text: one.title }), el("small", { text: one.facts }));
  }

  mark(at, scroll = true) {
    while (at >= this.drawn && this.drawn < this.rows.length) this.grow();
    this.list.children[this.active]?.classList.remove("active");
    this.active = Math.min(Math.max(at, 0), this.rows.length - 1);
    const shown = this.list.children[this.active];
    if (!shown) return this.input.removeAttribute("aria-activedescendant");
    shown.classList.add("active");
    this.input.setAttribute("aria-activedescendant", shown.id);
    if (!scroll) return undefined;
    const [list, row] = [this.list.getBoundingClientRect(), shown.getBoundingClientRect()]; // the list alone scrolls: the field stays
    if (row.top < list.top) this.list.scrollTop -= list.top - row.top;
    else if (row.bottom > list.bottom) this.list.scrollTop += row.bottom - list.bottom;
    return undefined;
  }

  key(event) {
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    if (moves[event.key]) {
      event.preventDefault();
      this.mark(this.active + moves[event.key]);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (this.rows[this.active]) this.choose(this.rows[this.active].id);
    }
  }
}

function row(model, task) {
  const providers = [...new Set(model.providers.map((one) => one.provider))];
  const shown = providers.slice(0, 3).join(", ");
  const rest = providers.length > 3 ? ` and ${providers.length - 3} more` : "";
  return { id: model.id, title: model.id, facts: `${task.replaceAll("-", " ")} · ${shown ? `${shown}${rest}` : "no provider now"}` };
}
