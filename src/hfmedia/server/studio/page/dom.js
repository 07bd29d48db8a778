// DOM helpers. Text is set as text and attributes as attributes: no markup is ever parsed from a string.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "muted", "loop", "indeterminate"]);

export const find = (selector, root = document) => root.querySelector(selector);
export const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/** Creates an element. `props`: attributes, some properties, `text`, and `on` with listeners by event; null omits one. */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (PROPERTIES.has(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An icon of the sprite in index.html, hidden from screen readers: the text next to it carries the meaning. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A button with an optional icon. `repeatable`: every click of a quick series counts. */
export function button(text, onClick, { style = "ghost", iconName = null, label = null, repeatable = false } = {}) {
  const element = el("button", { type: "button", class: style, "aria-label": label, "data-repeatable": repeatable, on: { click: onClick } });
  if (iconName) element.append(icon(iconName));
  if (text) element.append(el("span", { text }));
  return element;
}

/** Unloads the videos in an element: a removed video would keep loading and hold its connection. */
export function unloadVideos(root) {
  for (const video of all("video", root)) {
    video.removeAttribute("src");
    video.load();
  }
}

/** Treats a double click as one click: the element under the second may have appeared because of the first. */
addEventListener("click", (event) => {
  if (event.detail < 2 || !event.target.closest?.("button:not([data-repeatable]), a")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);

/** Treats a held key as one press: meanwhile the focus may have moved to another button. */
addEventListener("keydown", (event) => {
  if (event.repeat && ["Enter", " "].includes(event.key) && event.target.closest?.("button, a, summary")) event.preventDefault();
}, true);

/** Scrolls an element into view if it is below the screen, smoothly unless reduced motion is preferred. */
export function scrollIntoView(element) {
  if (element.getBoundingClientRect().top < innerHeight * 0.8) return;
  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ behavior: reducedMotion ? "auto" : "smooth" });
}

/** Makes an element focusable while its content overflows, so that the keyboard can scroll it. */
export function focusableIfScrollable(element) {
  if (element.scrollHeight > element.clientHeight) element.setAttribute("tabindex", "0");
  else element.removeAttribute("tabindex");
}

/** Closes a dialog on a click on its backdrop that also started there: ending a text selection there does not count. */
export function closeOnBackdropClick(dialog) {
  const onBackdrop = ({ target, clientX: x, clientY: y }) => {
    const box = dialog.getBoundingClientRect();
    return target === dialog && !(box.left <= x && x <= box.right && box.top <= y && y <= box.bottom);
  };
  let pressed = false;
  dialog.addEventListener("pointerdown", (event) => { pressed = onBackdrop(event); });
  dialog.addEventListener("click", (event) => pressed && onBackdrop(event) && dialog.close());
}

/** Sets an element's text only if it differs: a live region must not repeat itself. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Runs `fn` once it has not been called for `delay` milliseconds. */
export function debounce(fn, delay) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => fn(...args), delay);
  };
}
