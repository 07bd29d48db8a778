// The colour scheme, the key, and what this page is.

import { button, closeBeside, el, find } from "./dom.js";
import { told } from "./auth.js";
import { device } from "./storage.js";

const dialog = find("#settings");
const dark = matchMedia("(prefers-color-scheme: dark)");
const toggle = find("#scheme");
const CHOICES = [["", "As the system"], ["light", "Light"], ["dark", "Dark"]];

const chosen = () => document.documentElement.dataset.scheme ?? "";
const isDark = () => (chosen() ? chosen() === "dark" : dark.matches);

function scheme(name) {
  if (name) document.documentElement.dataset.scheme = name;
  else delete document.documentElement.dataset.scheme;
  device.write("scheme", name || null);
  mark();
}

const mark = () => toggle.setAttribute("aria-pressed", String(isDark()));

function show(health) {
  const radios = CHOICES.map(([value, words]) => el("label", {}, el("input", { type: "radio", name: "colours", value, checked: value === chosen(), on: { change: () => scheme(value) } }), el("span", { text: words })));
  dialog.replaceChildren(
    el("div", { class: "sheet-head" }, el("h2", { id: "settings-title", text: "Key and settings" }), button("", () => dialog.close(), { kind: "quiet round", drawn: "close", label: "Close" })),
    el("section", {}, el("h3", { text: "Key" }), told(() => location.reload())),
    el("section", {}, el("fieldset", { class: "kinds" }, el("legend", { text: "Colours" }), ...radios)),
    el("section", {}, el("h3", { text: "About" }), el("p", {}, `hfmedia ${health?.version ?? ""}. This page uses the gateway's public API alone: `, el("a", { href: new URL("../docs", import.meta.url).href, text: "see its description" }), ".")));
  dialog.showModal();
}

/** Makes the settings ready; `health()` is what the gateway says of itself. */
export function begin(health) {
  mark();
  dark.addEventListener("change", mark);
  toggle.addEventListener("click", () => scheme(isDark() ? "light" : "dark"));
  find("#open-settings").addEventListener("click", () => show(health()));
  closeBeside(dialog);
}
