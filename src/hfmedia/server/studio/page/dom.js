// Elements made by hand. Text goes in as text and attributes as attributes: no markup is ever read from a string.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "muted", "loop", "indeterminate"]);

export const find = (selector, within = document) => within.querySelector(selector);
export const all = (selector, within = document) => [...within.querySelectorAll(selector)];

/** An element. `facts`: attributes, some properties, `text`, and `on` with listeners by event; null leaves one out. */
export function el(tag, facts = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(facts)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name === "on") for (const [event, heard] of Object.entries(value)) made.addEventListener(event, heard);
    else if (PROPERTIES.has(name)) made[name] = value;
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** One of the drawings at the top of the page. It says nothing: the words beside it do. */
export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#drawn-${name}`);
  drawing.append(use);
  return drawing;
}

/** A button with words, and an icon before them where one is named. `often`: each of several quick clicks counts. */
export function button(words, deed, { kind = "quiet", drawn = null, label = null, often = false } = {}) {
  const made = el("button", { type: "button", class: kind, "aria-label": label, "data-often": often, on: { click: deed } });
  if (drawn) made.append(icon(drawn));
  if (words) made.append(el("span", { text: words }));
  return made;
}

/** Lets go of the videos in an element: one that is only taken away would go on loading, and keep its connection. */
export function release(element) {
  for (const film of all("video", element)) {
    film.removeAttribute("src");
    film.load();
  }
}

/** A double click is one click: what lies under the pointer at the second one may have come with the first. */
addEventListener("click", (event) => {
  if (event.detail < 2 || !event.target.closest?.("button:not([data-often]), a")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);

/** A key that is held down is one press: while it is, the focus may have moved to a button that nobody meant. */
addEventListener("keydown", (event) => {
  if (event.repeat && ["Enter", " "].includes(event.key) && event.target.closest?.("button, a, summary")) event.preventDefault();
}, true);

/** Brings what lies below the screen into sight, gently where that is wanted. */
export function bring(element) {
  if (element.getBoundingClientRect().top < innerHeight * 0.8) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ behavior: still ? "auto" : "smooth" });
}

/** Lets the keyboard scroll what is longer than its place. */
export function reachable(element) {
  if (element.scrollHeight > element.clientHeight) element.setAttribute("tabindex", "0");
  else element.removeAttribute("tabindex");
}

/** Closes a dialog by a press beside it; not where something was only marked, or let go of, there. */
export function closeBeside(dialog) {
  const beside = ({ target, clientX: x, clientY: y }) => {
    const box = dialog.getBoundingClientRect();
    return target === dialog && !(box.left <= x && x <= box.right && box.top <= y && y <= box.bottom);
  };
  let pressed = false;
  dialog.addEventListener("pointerdown", (event) => { pressed = beside(event); });
  dialog.addEventListener("click", (event) => pressed && beside(event) && dialog.close());
}

/** Changes the text of an element only if it differs: a live region must not repeat itself. */
export function retext(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

/** The deed, once nothing has asked for it during so many milliseconds. */
export function settled(deed, after) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => deed(...given), after);
  };
}
