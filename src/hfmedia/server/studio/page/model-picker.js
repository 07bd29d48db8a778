// The model picker: searches every model that a provider currently runs; recently used ones come first.

import { api } from "./api.js";
import { button, closeOnBackdropClick, el, find, setText } from "./dom.js";
import { errorText } from "./error-messages.js";
import { plural } from "./format.js";
import { local } from "./storage.js";

const CACHE_LIFETIME = 5 * 60_000; // milliseconds; the gateway refreshes its own list as slowly
const PAGE_SIZE = 60; // rows rendered at a time
const RENDER_AHEAD = 400; // pixels from the end of the list at which more rows are rendered
const PAGE_STEP = 8; // rows that Page Up and Page Down move
const MAX_RECENT = 6;
const MAX_PROVIDERS = 3; // named in a row
const dialog = find("#model-picker");
closeOnBackdropClick(dialog);
const lists = new Map(); // task -> { at, value: promise }
const details = new Map(); // model -> { at, value: promise }

function cached(cache, key, load) {
  const entry = cache.get(key);
  if (entry && Date.now() - entry.at < CACHE_LIFETIME) return entry.value;
  const value = load();
  cache.set(key, { at: Date.now(), value });
  value.catch(() => cache.delete(key));
  return value;
}

/** A model with the parameters that each of its providers accepts. */
export const getModel = (id) => cached(details, id, () => api.model(id));
const listModels = (task) => cached(lists, task, () => api.models(task));

/** Adds a model to the recently used ones of a task. */
export function rememberModel(task, id) {
  const recent = local.read("recent", {}) ?? {};
  recent[task] = [id, ...(recent[task] ?? []).filter((other) => other !== id)].slice(0, MAX_RECENT);
  local.write("recent", recent);
}

function recentModels(task) {
  const ids = local.read("recent", {})?.[task];
  return Array.isArray(ids) ? ids.filter((id) => typeof id === "string") : [];
}

/** Opens the picker for a task; resolves with a model, "" for automatic, null if nothing was chosen. */
export function pickModel(task, current) {
  return new Promise((resolve) => {
    let result = null;
    const picker = new Picker(task, current, (id) => {
      result = id;
      dialog.close();
    });
    dialog.replaceChildren(...picker.elements());
    dialog.addEventListener("close", () => {
      dialog.replaceChildren();
      resolve(result);
    }, { once: true });
    dialog.showModal();
    picker.load();
  });
}

class Picker {
  constructor(task, current, choose) {
    Object.assign(this, { task, current, choose, models: [], rows: [], rendered: 0, active: -1, loading: true, error: "" });
    this.input = el("input", {
      type: "search", role: "combobox", "aria-expanded": "true", "aria-controls": "model-list", "aria-label": "Search models",
      "aria-autocomplete": "list", placeholder: "Search models", autocomplete: "off", spellcheck: "false", id: "model-search", maxlength: 200,
      on: { input: () => this.render(), keydown: (event) => this.onKey(event) },
    });
    this.list = el("div", { id: "model-list", role: "listbox", "aria-label": "Models", class: "option-list", on: { scroll: () => this.isNearEnd() && this.renderMore() } });
    this.status = el("p", { class: "hint", role: "status" });
  }

  elements() {
    const head = el("div", { class: "sheet-head" },
      el("h2", { id: "model-picker-title", text: `Models for ${this.task.replaceAll("-", " ")}` }),
      button("", () => dialog.close(), { style: "ghost icon-button", iconName: "close", label: "Close" }));
    return [head, this.input, this.status, this.list];
  }

  async load() {
    this.input.focus();
    this.render();
    try {
      this.models = await listModels(this.task);
    } catch (error) {
      this.error = errorText(error);
    }
    this.loading = false;
    this.render();
  }

  render() {
    const terms = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = this.models.filter((model) => terms.every((term) => model.id.toLowerCase().includes(term)));
    const recent = terms.length ? [] : recentModels(this.task).map((id) => this.models.find((model) => model.id === id)).filter(Boolean);
    const typed = this.input.value.trim();
    const useTyped = !matches.length && !this.loading && /^[\w.-]+\/[\w.-]+$/.test(typed);
    this.rows = [
      ...(terms.length ? [] : [{ id: "", title: "Automatic", details: "The gateway's default model for this task" }]),
      ...recent.map((model) => ({ ...toRow(model, this.task), details: `Recently used · ${toRow(model, this.task).details}` })),
      ...matches.filter((model) => !recent.includes(model)).map((model) => toRow(model, this.task)),
      ...(useTyped ? [{ id: typed, title: typed, details: this.error ? "Use as typed" : "Not in the list; use as typed" }] : []),
    ];
    const empty = terms.length ? "No matching models. Try fewer letters." : "No models for this task.";
    setText(this.status, this.loading ? "Loading models…" : this.error || (matches.length ? plural(matches.length, "model") : empty));
    this.list.replaceChildren();
    this.list.scrollTop = 0;
    this.rendered = 0;
    this.renderMore();
    this.activate(terms.length ? 0 : Math.max(0, this.rows.findIndex((row) => row.id === this.current)));
  }

  isNearEnd() {
    return this.list.scrollTop + this.list.clientHeight > this.list.scrollHeight - RENDER_AHEAD;
  }

  renderMore() {
    const next = this.rows.slice(this.rendered, this.rendered + PAGE_SIZE);
    this.list.append(...next.map((row, k) => this.option(row, this.rendered + k)));
    this.rendered += next.length;
  }

  option(row, index) {
    return el("div", {
      role: "option", id: `model-${index}`, class: "option", "aria-selected": String(row.id === this.current),
      on: { click: () => this.choose(row.id), mousemove: () => this.active !== index && this.activate(index, false) },
    }, el("span", { text: row.title }), el("small", { text: row.details }));
  }

  activate(index, scroll = true) {
    while (index >= this.rendered && this.rendered < this.rows.length) this.renderMore();
    this.list.children[this.active]?.classList.remove("active");
    this.active = Math.min(Math.max(index, 0), this.rows.length - 1);
    const option = this.list.children[this.active];
    if (!option) return this.input.removeAttribute("aria-activedescendant");
    option.classList.add("active");
    this.input.setAttribute("aria-activedescendant", option.id);
    if (!scroll) return undefined;
    const [list, row] = [this.list.getBoundingClientRect(), option.getBoundingClientRect()]; // scrolls the list only: the input stays in view
    if (row.top < list.top) this.list.scrollTop -= list.top - row.top;
    else if (row.bottom > list.bottom) this.list.scrollTop += row.bottom - list.bottom;
    return undefined;
  }

  onKey(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: PAGE_STEP, PageUp: -PAGE_STEP };
    if (steps[event.key]) {
      event.preventDefault();
      this.activate(this.active + steps[event.key]);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (this.rows[this.active]) this.choose(this.rows[this.active].id);
    }
  }
}

function toRow(model, task) {
  const names = model.providers.slice(0, MAX_PROVIDERS).join(", ");
  const more = model.providers.length > MAX_PROVIDERS ? ` and ${model.providers.length - MAX_PROVIDERS} more` : "";
  return { id: model.id, title: model.id, details: `${task.replaceAll("-", " ")} · ${names ? `${names}${more}` : "no provider right now"}` };
}
