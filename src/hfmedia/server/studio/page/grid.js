// The wall of cards, newest first, in sections of whole rows: the browser lays out and draws those in sight alone.

import { el, find } from "./dom.js";

const SECTION = 60; // cards, which make whole rows of one to six columns
const wall = find("#wall");

/** The cards as they are seen; the collection is live. */
export const cards = wall.getElementsByClassName("card");

const section = () => wall.appendChild(el("div", { class: "grid", role: "presentation" }));
export const nextOf = (made) => made.nextElementSibling ?? made.parentNode.nextElementSibling?.firstElementChild ?? null;
export const beforeOf = (made) => made.previousElementSibling ?? made.parentNode.previousElementSibling?.lastElementChild ?? null;

/** Takes everything down. */
export const clear = () => wall.replaceChildren();

/** Hangs a card before another one, or behind all. */
export function hang(made, next) {
  if (made.isConnected && nextOf(made) === next) return;
  rehang(() => {
    if (next) next.before(made);
    else (wall.lastElementChild ?? section()).append(made);
  });
}

/** Hangs cards behind all the others. */
export const hangAll = (several) => rehang(() => {
  for (const made of several) {
    const last = wall.lastElementChild;
    (last && last.childElementCount < SECTION ? last : section()).append(made);
  }
});

/** Takes a card down. */
export const takeDown = (made) => rehang(() => made.remove());

/** Does that, and fills each section to its number, so that no row has a gap. What has the focus keeps it. */
function rehang(deed) {
  const focused = document.activeElement;
  deed();
  for (let here = wall.firstElementChild; here; here = here.nextElementSibling) {
    while (here.childElementCount > SECTION) (here.nextElementSibling ?? section()).prepend(here.lastElementChild);
    while (here.childElementCount < SECTION && here.nextElementSibling) {
      if (here.nextElementSibling.childElementCount) here.append(here.nextElementSibling.firstElementChild);
      else here.nextElementSibling.remove();
    }
  }
  if (focused !== document.activeElement && wall.contains(focused)) focused.focus({ preventScroll: true });
}
