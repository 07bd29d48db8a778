// What is said aside: a polite line for screen readers, and short notices that offer to undo.

import { button, el, find } from "./dom.js";

const STAYS = 10_000; // milliseconds; long enough to reach the button with the keyboard
const said = find("#said");
const toasts = find("#toasts");
let waiting = [];
let timer = 0;

/** Says something to whoever listens instead of looks. What comes together is said together. */
export function say(words) {
  waiting.push(words);
  clearTimeout(timer);
  timer = setTimeout(() => {
    said.textContent = waiting.slice(-4).join(" ");
    waiting = [];
  }, 250);
}

let undo = null; // of the last notice that has one

/** A notice. `back` is done when its button is pressed, or Ctrl+Z while it is there; `over` when it goes without that. */
export function notice(words, { back = null, label = "Undo", trouble = false } = {}) {
  let slept = 0;
  const close = () => {
    clearTimeout(slept);
    note.remove();
    if (undo === take) undo = null;
  };
  const take = () => {
    close();
    back();
  };
  const rest = () => {
    clearTimeout(slept);
    slept = setTimeout(close, STAYS);
  };
  const note = el("div", { class: trouble ? "toast bad" : "toast" },
    el("p", { text: words }),
    back && button(label, take, { kind: "plain" }),
    button("", close, { kind: "quiet round", drawn: "close", label: "Close this notice" }));
  for (const event of ["mouseenter", "focusin"]) note.addEventListener(event, () => clearTimeout(slept));
  for (const event of ["mouseleave", "focusout"]) note.addEventListener(event, rest);
  if (back) undo = take;
  const host = find("dialog.viewer[open]") ?? document.body; // what lies under an open dialog cannot be pressed
  host.append(toasts);
  toasts.append(note);
  while (toasts.childElementCount > 3) toasts.firstElementChild.remove();
  say(words);
  rest();
}

addEventListener("keydown", (event) => {
  const writes = event.target.matches?.("input, textarea, select");
  if (undo && !writes && event.key === "z" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    undo();
  }
});
