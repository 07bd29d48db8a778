// Announcements for screen readers, and toasts that may offer to undo something.

import { all, button, el, find } from "./dom.js";

const TOAST_DURATION = 10_000; // milliseconds; long enough to reach the button with the keyboard
const BATCH_DELAY = 250; // milliseconds within which announcements are combined,
const MAX_BATCH_DELAY = 1500; // but none waits much longer than this
const UNDO = "Undo";
const MAX_TOASTS = 3; // at once, not counting those that offer to undo
const liveRegion = find("#announcements");
const toasts = find("#toasts");
let queued = [];
let queuedSince = 0;
let timer = 0;

/** Moves the live region and the toasts into the topmost dialog: a modal dialog hides everything behind it. */
function moveToTop() {
  const host = all("dialog[open]").at(-1) ?? document.body;
  for (const part of [liveRegion, toasts]) if (part.parentNode !== host) host.append(part);
}

/** Moves the live region and the toasts out of a dialog that is about to be emptied. */
export function moveOutOf(dialog) {
  for (const part of [liveRegion, toasts]) if (dialog.contains(part)) document.body.append(part);
}

/** Announces a text to screen readers, combined with others of the same moment. */
export function announce(text) {
  if (!queued.length) queuedSince = performance.now();
  queued.push(text);
  moveToTop();
  clearTimeout(timer);
  timer = setTimeout(() => {
    liveRegion.textContent = [...countTexts(queued)].slice(-4).map(([each, count]) => (count > 1 ? `${count} × ${each}` : each)).join(" ");
    queued = [];
  }, performance.now() - queuedSince < MAX_BATCH_DELAY ? BATCH_DELAY : 0);
}

function countTexts(texts) {
  const counts = new Map();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return counts;
}

const undoStack = []; // of the open toasts that offer to undo, the newest last

/** Shows a toast and returns a function that closes it. `action` runs when its button is pressed; one labeled Undo also on Ctrl+Z. */
export function toast(text, { action = null, label = UNDO, error = false } = {}) {
  let closeTimer = 0;
  let previousFocus = null; // where the focus was before it moved here
  const close = () => {
    clearTimeout(closeTimer);
    const focused = element.contains(document.activeElement);
    element.remove();
    if (undoStack.includes(runAction)) undoStack.splice(undoStack.indexOf(runAction), 1);
    if (focused) (previousFocus?.isConnected ? previousFocus : find("dialog[open] button") ?? find("#gallery")).focus();
  };
  const runAction = () => {
    close();
    action();
  };
  const startTimer = () => {
    clearTimeout(closeTimer);
    closeTimer = setTimeout(close, TOAST_DURATION);
  };
  const element = el("div", { class: `toast ${error ? "danger" : ""} ${action ? "undoable" : ""}` },
    el("p", { text }),
    action && button(label, runAction, { style: "outlined" }),
    button("", close, { style: "ghost icon-button", iconName: "close", label: "Dismiss" }));
  element.addEventListener("focusin", ({ relatedTarget: from }) => { if (from && !toasts.contains(from)) previousFocus = from; });
  for (const event of ["mouseenter", "focusin"]) element.addEventListener(event, () => clearTimeout(closeTimer));
  for (const event of ["mouseleave", "focusout"]) element.addEventListener(event, startTimer);
  if (action && label === UNDO) undoStack.push(runAction);
  moveToTop();
  toasts.append(element);
  for (const old of all(".toast:not(.undoable)", toasts).slice(0, -MAX_TOASTS)) old.remove();
  announce(text);
  startTimer();
  return close;
}

for (const dialog of all("dialog")) dialog.addEventListener("close", () => dialog.open || moveOutOf(dialog));

addEventListener("keydown", (event) => {
  const editing = event.target.matches?.("input, textarea, select");
  if (undoStack.length && !editing && event.key === "z" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    undoStack.at(-1)();
  }
});
