// The settings dialog: API key, color scheme, and version.

import { keySettings } from "./auth.js";
import { button, closeOnBackdropClick, el, find } from "./dom.js";
import { local } from "./storage.js";

const dialog = find("#settings");
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const toggle = find("#toggle-scheme");
const SCHEMES = [["", "System"], ["light", "Light"], ["dark", "Dark"]];

const currentScheme = () => document.documentElement.dataset.scheme ?? "";
const isDark = () => (currentScheme() ? currentScheme() === "dark" : systemDark.matches);
const updateToggle = () => toggle.setAttribute("aria-pressed", String(isDark()));

function setScheme(name) {
  if (name) document.documentElement.dataset.scheme = name;
  else delete document.documentElement.dataset.scheme;
  local.write("scheme", name || null);
  updateToggle();
}

function show(health) {
  const radios = SCHEMES.map(([value, text]) => el("label", {}, el("input", { type: "radio", name: "scheme", value, checked: value === currentScheme(), on: { change: () => setScheme(value) } }), el("span", { text })));
  dialog.replaceChildren(
    el("div", { class: "sheet-head" }, el("h2", { id: "settings-title", text: "API key and settings" }), button("", () => dialog.close(), { style: "ghost icon-button", iconName: "close", label: "Close" })),
    el("section", {}, el("h3", { text: "API key" }), keySettings(() => location.reload())),
    el("section", {}, el("fieldset", { class: "segmented" }, el("legend", { text: "Color scheme" }), ...radios)),
    el("section", {}, el("h3", { text: "About" }), el("p", {}, `hfmedia ${health?.version ?? ""}. This page uses only the gateway's public API: `, el("a", { href: new URL("../docs", import.meta.url).href, text: "see its documentation" }), ".")));
  dialog.showModal();
}

/** Initializes the settings. `health()` is the gateway's last health response. */
export function init(health) {
  updateToggle();
  systemDark.addEventListener("change", updateToggle);
  toggle.addEventListener("click", () => setScheme(isDark() ? "light" : "dark"));
  find("#open-settings").addEventListener("click", () => show(health()));
  closeOnBackdropClick(dialog);
}
