// What is said aside: a polite line for screen readers, and short notices that offer to undo.

import { all, button, el, find } from "./dom.js";

const STAYS = 10_000; // milliseconds; long enough to reach the button with the keyboard
const said = find("#said");
const toasts = find("#toasts");
const TOGETHER = 250; // milliseconds within which words are said together,
const PATIENCE = 1500; // but none waits for much longer than this
const UNDO = "Undo";
const MOST = 3; // notices at once, those that offer to undo left aside
let waiting = [];
let since = 0;
let timer = 0;

/** What is open over the page hides all the rest from the keyboard and from screen readers: it takes these along. */
function come() {
  const host = all("dialog[open]").at(-1) ?? document.body;
  for (const part of [said, toasts]) if (part.parentNode !== host) host.append(part);
}

/** Takes the line and the notices out of a dialog that is about to be emptied. */
export function goHome(dialog) {
  for (const part of [said, toasts]) if (dialog.contains(part)) document.body.append(part);
}

/** Says something to whoever listens instead of looks. What comes together is said together. */
export function say(words) {
  if (!waiting.length) since = performance.now();
  waiting.push(words);
  come();
  clearTimeout(timer);
  timer = setTimeout(() => {
    said.textContent = [...counted(waiting)].slice(-4).map(([one, times]) => (times > 1 ? `${times} × ${one}` : one)).join(" ");
    waiting = [];
  }, performance.now() - since < PATIENCE ? TOGETHER : 0);
}

/** How often each was said. */
function counted(words) {
  const times = new Map();
  for (const one of words) times.set(one, (times.get(one) ?? 0) + 1);
  return times;
}

const undos = []; // of the notices that have one, the last behind

/** A notice; the answer closes it. `back` is done when its button is pressed; where that is to undo something, also by Ctrl+Z while it is there. */
export function notice(words, { back = null, label = UNDO, trouble = false } = {}) {
  let slept = 0;
  let came = null; // where the focus was before it came here
  const close = () => {
    clearTimeout(slept);
    const focused = note.contains(document.activeElement);
    note.remove();
    if (undos.includes(take)) undos.splice(undos.indexOf(take), 1);
    if (focused) (came?.isConnected ? came : find("dialog[open] button") ?? find("#made")).focus();
  };
  const take = () => {
    close();
    back();
  };
  const rest = () => {
    clearTimeout(slept);
    slept = setTimeout(close, STAYS);
  };
  const note = el("div", { class: `toast ${trouble ? "bad" : ""} ${back ? "undoes" : ""}` },
    el("p", { text: words }),
    back && button(label, take, { kind: "plain" }),
    button("", close, { kind: "quiet round", drawn: "close", label: "Close this notice" }));
  note.addEventListener("focusin", ({ relatedTarget: from }) => { if (from && !toasts.contains(from)) came = from; });
  for (const event of ["mouseenter", "focusin"]) note.addEventListener(event, () => clearTimeout(slept));
  for (const event of ["mouseleave", "focusout"]) note.addEventListener(event, rest);
  if (back && label === UNDO) undos.push(take);
  come();
  toasts.append(note);
  const plain = all(".toast:not(.undoes)", toasts);
  for (const one of plain.slice(0, -MOST)) one.remove();
  say(words);
  rest();
  return close;
}

for (const dialog of all("dialog")) dialog.addEventListener("close", () => dialog.open || goHome(dialog));

addEventListener("keydown", (event) => {
  const writes = event.target.matches?.("input, textarea, select");
  if (undos.length && !writes && event.key === "z" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    undos.at(-1)();
  }
});
