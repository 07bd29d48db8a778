// The grid of cards, newest first, in sections of whole rows: the browser lays out and paints only those in view.

import { el, find } from "./dom.js";

const SECTION_SIZE = 60; // cards, which fill whole rows of one to six columns
const grid = find("#grid");

/** The cards in display order; the collection is live. */
export const cards = grid.getElementsByClassName("card");

const addSection = () => grid.appendChild(el("div", { class: "grid-section", role: "presentation" }));
export const nextCard = (card) => card.nextElementSibling ?? card.parentNode.nextElementSibling?.firstElementChild ?? null;
export const previousCard = (card) => card.previousElementSibling ?? card.parentNode.previousElementSibling?.lastElementChild ?? null;

export const clear = () => grid.replaceChildren();

/** Inserts a card before another one, or at the end. */
export function insert(card, next) {
  if (card.isConnected && nextCard(card) === next) return;
  rebalance(() => {
    if (next) next.before(card);
    else (grid.lastElementChild ?? addSection()).append(card);
  });
}

/** Appends cards at the end. */
export const appendAll = (newCards) => rebalance(() => {
  for (const card of newCards) {
    const last = grid.lastElementChild;
    (last && last.childElementCount < SECTION_SIZE ? last : addSection()).append(card);
  }
});

export const remove = (card) => rebalance(() => card.remove());

/** Applies a change, then refills the sections so that no row has a gap. The focus stays where it is. */
function rebalance(change) {
  const focused = document.activeElement;
  change();
  for (let section = grid.firstElementChild; section; section = section.nextElementSibling) {
    while (section.childElementCount > SECTION_SIZE) (section.nextElementSibling ?? addSection()).prepend(section.lastElementChild);
    while (section.childElementCount < SECTION_SIZE && section.nextElementSibling) {
      if (section.nextElementSibling.childElementCount) section.append(section.nextElementSibling.firstElementChild);
      else section.nextElementSibling.remove();
    }
  }
  if (focused !== document.activeElement && grid.contains(focused)) focused.focus({ preventScroll: true });
}
