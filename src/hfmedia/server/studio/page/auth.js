// The gateway key: asked for when the gateway wants one, kept for this tab, or on this device where that is wished.

import { button, el, find } from "./dom.js";
import { device, placeOf, tab } from "./storage.js";
import { goHome } from "./notifications.js";
import { sentence } from "./format.js";

const NAME = "key";
const dialog = find("#entry");
let key = tab.read(NAME) ?? device.read(NAME);
let entered = true; // whether the dialog got what it asked for
let brought = () => {}; // takes a key that another tab was given, while one is asked for here
let asking = null; // one question at a time, however many requests wait for its answer

let good = null; // the last key that opened anything

export const current = () => key;

/** The gateway took this key. */
export function opened(taken) {
  good = taken;
}
export const kept = () => (device.read(NAME) !== null ? "device" : key !== null ? "tab" : "nowhere");

/** Forgets a key wherever it is kept; another one, which another tab may have brought, stays. */
function forget(old) {
  if (key === old) key = null;
  for (const place of [tab, device]) if (place.read(NAME) === old) place.write(NAME, null);
}

/**
 * Asks for a key; resolves once there is one. `refused`: the gateway's words about the one it had. What was made with
 * another key is somebody else's: the page begins anew.
 */
export function wanted(refused) {
  asking ??= new Promise((resolve) => {
    const before = key;
    forget(before);
    const other = device.read(NAME);
    const enter = (given, remember) => {
      key = given;
      if (remember !== null) (remember ? device : tab).write(NAME, given);
      asking = null;
      if (good === null || given === good) resolve(given);
      else location.reload();
    };
    if (other !== null) enter(other, null); // another tab asked already
    else ask(before === null ? null : refused, enter);
  });
  return asking;
}

function ask(refused, done) {
  const input = el("input", {
    id: "key", type: "password", autocomplete: "off", spellcheck: "false", required: true, placeholder: "hfm_…", "aria-invalid": refused ? "true" : null,
    "aria-describedby": "key-trouble key-hint",
  });
  const remember = el("input", { type: "checkbox", id: "remember" });
  const trouble = el("p", { class: "trouble", id: "key-trouble", role: "alert", text: sentence(refused), hidden: !refused });
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
    close();
    return done(given, remember.checked);
  });
  const close = () => {
    entered = true;
    brought = () => {};
    dialog.close();
    form.remove();
  };
  brought = (given) => {
    close();
    done(given, null);
  };
  entered = false;
  goHome(dialog);
  dialog.replaceChildren(form);
  if (!dialog.open) dialog.showModal();
  input.focus();
}

// Behind it there is nothing to see without a key. A browser lets Escape be held back once, and closes at the next.
dialog.addEventListener("cancel", (event) => event.preventDefault());
dialog.addEventListener("close", () => {
  if (entered || dialog.open) return;
  dialog.showModal();
  find("#key", dialog).focus();
});

addEventListener("storage", (event) => { // another tab forgot the key, or was given the one that is asked for here
  if (event.key !== placeOf(NAME)) return;
  const [before, after] = [event.oldValue, event.newValue].map((text) => JSON.parse(text ?? "null"));
  if (after === null && before !== null && before === key) location.reload();
  else if (after !== null) brought(after);
});

/** What the settings say and offer about the key. */
export function told(after) {
  const where = { device: "A key is remembered on this device.", tab: "A key is kept until this tab is closed.", nowhere: "No key is in use: this gateway asks for none here." }[kept()];
  return el("div", {}, el("p", { text: where }), key !== null && button("Forget key", () => { forget(key); after(); }, { kind: "plain" }));
}
