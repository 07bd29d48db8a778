// The gateway key: asked for when the gateway wants one, kept for this tab, or on this device where that is wished.

import { button, el, find } from "./dom.js";
import { device, tab } from "./kept.js";

const NAME = "key";
const dialog = find("#entry");
let key = tab.read(NAME) ?? device.read(NAME);
let asking = null; // one question at a time, however many requests wait for its answer

export const current = () => key;
export const kept = () => (device.read(NAME) !== null ? "device" : key !== null ? "tab" : "nowhere");

/** Forgets the key everywhere. */
export function forget() {
  key = null;
  tab.write(NAME, null);
  device.write(NAME, null);
}

/** Asks for a key; resolves once one was entered. `refused`: the gateway's words about the one it had. */
export function wanted(refused) {
  asking ??= new Promise((resolve) => {
    const before = key;
    forget();
    ask(before === null ? null : refused, (given, remember) => {
      key = given;
      (remember ? device : tab).write(NAME, given);
      asking = null;
      resolve(given);
    });
  });
  return asking;
}

function ask(refused, done) {
  const input = el("input", {
    id: "key", type: "password", autocomplete: "off", spellcheck: "false", required: true, placeholder: "hfm_…",
    "aria-describedby": "key-trouble key-hint",
  });
  const remember = el("input", { type: "checkbox", id: "remember" });
  const trouble = el("p", { class: "trouble", id: "key-trouble", role: "alert", text: refused ?? "", hidden: !refused });
  const form = el("form", { novalidate: true },
    el("h2", { id: "entry-title", text: "Enter with your key" }),
    el("p", { class: "hint", id: "key-hint", text: "This gateway serves whoever has a key of it. Its keeper makes one with “hfmedia keys make NAME”." }),
    el("div", { class: "field" }, el("label", { for: "key", text: "Gateway key" }), input),
    trouble,
    el("label", { class: "check" }, remember, el("span", { text: "Remember on this device" })),
    el("p", { class: "hint", text: "Otherwise it is forgotten when this tab is closed. Do not tick this on a machine that others use." }),
    el("button", { type: "submit", class: "main", text: "Enter" }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = input.value.trim();
    const wrong = given === "" ? "Paste or type the key first." : /^[\x21-\x7e]+$/.test(given) ? null : "A key has no spaces and no special characters.";
    trouble.hidden = wrong === null;
    trouble.textContent = wrong ?? "";
    input.setAttribute("aria-invalid", String(wrong !== null));
    if (wrong) return input.focus();
    dialog.close();
    dialog.replaceChildren();
    return done(given, remember.checked);
  });
  dialog.replaceChildren(form);
  if (!dialog.open) dialog.showModal();
  input.focus();
}

dialog.addEventListener("cancel", (event) => event.preventDefault()); // behind it there is nothing to see without a key

/** What the settings say and offer about the key. */
export function told(after) {
  const where = { device: "A key is remembered on this device.", tab: "A key is kept until this tab is closed.", nowhere: "No key is in use: this gateway asks for none here." }[kept()];
  return el("div", {}, el("p", { text: where }), key !== null && button("Forget key", () => { forget(); after(); }, { kind: "plain" }));
}
