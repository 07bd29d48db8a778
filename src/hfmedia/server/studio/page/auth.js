// The API key: requested when the gateway requires one, kept for this tab, or on this device if the user chooses so.

import { button, el, find } from "./dom.js";
import { sentence } from "./format.js";
import { moveOutOf } from "./notifications.js";
import { local, scopedKey, session } from "./storage.js";

const NAME = "key";
const dialog = find("#auth-dialog");
let key = session.read(NAME) ?? local.read(NAME);
let answered = true; // whether the open dialog got its key
let acceptFromOtherTab = () => {}; // takes a key entered in another tab while this one is asking
let pending = null; // one dialog at a time, however many requests wait for it
let lastAccepted = null; // the last key that the gateway accepted

export const currentKey = () => key;

/** Records that the gateway accepted this key. */
export function authenticated(acceptedKey) {
  lastAccepted = acceptedKey;
}

const keyLocation = () => (local.read(NAME) !== null ? "device" : key !== null ? "tab" : "none");

/** Deletes a key from everywhere; a different key, saved by another tab, stays. */
function forget(oldKey) {
  if (key === oldKey) key = null;
  for (const area of [session, local]) if (area.read(NAME) === oldKey) area.write(NAME, null);
}

/**
 * Asks for a key and resolves once there is one. `rejection`: the gateway's message about the previous one. Jobs of the
 * previous key belong to someone else, so the page reloads with a new one.
 */
export function requestKey(rejection) {
  pending ??= new Promise((resolve) => {
    const oldKey = key;
    forget(oldKey);
    const savedKey = local.read(NAME);
    const accept = (newKey, remember) => {
      key = newKey;
      if (remember !== null) (remember ? local : session).write(NAME, newKey);
      pending = null;
      if (lastAccepted === null || newKey === lastAccepted) resolve(newKey);
      else location.reload();
    };
    if (savedKey !== null) accept(savedKey, null); // another tab has asked already
    else openDialog(oldKey === null ? null : rejection, accept);
  });
  return pending;
}

function validationError(text) {
  if (text === "") return "Enter an API key.";
  return /^[\x21-\x7e]+$/.test(text) ? null : "A key has no spaces or special characters.";
}

function openDialog(rejection, accept) {
  const input = el("input", {
    id: "api-key", type: "password", autocomplete: "off", spellcheck: "false", required: true, placeholder: "hfm_…", "aria-invalid": rejection ? "true" : null,
    "aria-describedby": "api-key-error api-key-hint",
  });
  const remember = el("input", { type: "checkbox", id: "remember" });
  const error = el("p", { class: "error", id: "api-key-error", role: "alert", text: sentence(rejection), hidden: !rejection });
  const form = el("form", { novalidate: true },
    el("h2", { id: "auth-title", text: "Enter your API key" }),
    el("p", { class: "hint", id: "api-key-hint", text: "This gateway requires an API key. Ask its administrator to run “hfmedia keys make NAME”." }),
    el("div", { class: "field" }, el("label", { for: "api-key", text: "API key" }), input),
    error,
    el("label", { class: "checkbox" }, remember, el("span", { text: "Remember on this device" })),
    el("p", { class: "hint", text: "Otherwise it is forgotten when you close this tab. Leave this unchecked on a shared computer." }),
    el("button", { type: "submit", class: "primary", text: "Continue" }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const newKey = input.value.trim();
    const problem = validationError(newKey);
    error.hidden = problem === null;
    error.textContent = problem ?? "";
    input.setAttribute("aria-invalid", String(problem !== null));
    if (problem) return input.focus();
    close();
    return accept(newKey, remember.checked);
  });
  const close = () => {
    answered = true;
    acceptFromOtherTab = () => {};
    dialog.close();
    form.remove();
  };
  acceptFromOtherTab = (newKey) => {
    close();
    accept(newKey, null);
  };
  answered = false;
  moveOutOf(dialog);
  dialog.replaceChildren(form);
  if (!dialog.open) dialog.showModal();
  input.focus();
}

// Without a key there is nothing to show behind the dialog. A browser lets Escape be prevented once, and closes at the next.
dialog.addEventListener("cancel", (event) => event.preventDefault());
dialog.addEventListener("close", () => {
  if (answered || dialog.open) return;
  dialog.showModal();
  find("#api-key", dialog).focus();
});

addEventListener("storage", (event) => { // another tab deleted the key, or saved the one that this tab is asking for
  if (event.key !== scopedKey(NAME)) return;
  const [before, after] = [event.oldValue, event.newValue].map((text) => JSON.parse(text ?? "null"));
  if (after === null && before !== null && before === key) location.reload();
  else if (after !== null) acceptFromOtherTab(after);
});

/** The section of the settings about the key. */
export function keySettings(onForget) {
  const text = { device: "Your key is saved on this device.", tab: "Your key is kept until you close this tab.", none: "No key in use; this gateway does not ask for one here." }[keyLocation()];
  return el("div", {}, el("p", { text }), key !== null && button("Forget key", () => { forget(key); onForget(); }, { style: "outlined" }));
}
