// What would happen: asked of the gateway while the form is filled, and told before anything is sent or paid.

import { api } from "./api.js";
import { el, find, reachable, settled } from "./dom.js";
import { asBody } from "./request.js";
import { plural } from "./format.js";

const PAUSE = 350; // milliseconds after the last change
const ANY_PROMPT = "a picture"; // prompts change nothing of a plan, so the form's own is not sent for it
const area = find("#plan");
let stop = null;
let last = "";
let model = null; // of the plan that is shown

/**
 * Asks what would become of a wish, unless that was just asked; of none, nothing is told. `judged(trouble, model)` hears
 * what cannot be done at all, or by which model it would be done.
 */
export const foresee = settled(async (wish, picture, judged) => {
  if (!wish) {
    stop?.abort();
    last = "";
    tell();
    return;
  }
  const asked = { ...wish, n: 1, prompt: ANY_PROMPT };
  const mark = JSON.stringify([asked, picture?.name, picture?.size, picture?.lastModified]);
  if (mark === last) {
    if (model) judged(null, model);
    return;
  }
  [last, model] = [mark, null];
  stop?.abort();
  stop = new AbortController();
  try {
    const { data } = await api.preview(asBody(asked, picture), stop.signal);
    model = data[0]?.model ?? null;
    judged(null, model);
    show(data);
  } catch (trouble) {
    if (trouble.name === "AbortError") return;
    last = "";
    tell();
    if (trouble.status === 400 || trouble.status === 403) judged(trouble);
  }
}, PAUSE);

/** Tells it, unless it was told already: nothing is said twice, and what was opened in it stays open. */
function tell(...parts) {
  const told = el("div", {}, ...parts);
  if (told.textContent === area.textContent) return;
  const focused = area.contains(document.activeElement);
  const [before, after] = [find("details", area), find("details", told)];
  if (before && after) after.open = before.open;
  area.replaceChildren(...told.children);
  reachable(area);
  if (!focused) return;
  area.setAttribute("tabindex", "0");
  area.focus();
}

function show(plans) {
  const able = plans.filter((plan) => plan.refusal === null);
  const [first, ...others] = able;
  if (!first) {
    const why = plans[0]?.refusal;
    tell(why && el("p", { class: "note", text: why }));
    return;
  }
  const notes = first.warnings.length > 0 && el("ul", { class: "note" }, ...first.warnings.map((words) => el("li", { text: words })));
  const differing = others.filter((plan) => plan.warnings.length);
  const more = differing.length > 0 && el("details", {},
    el("summary", { text: `If it moves on: ${plural(differing.length, "provider")} would change something` }),
    el("ul", {}, ...differing.flatMap((plan) => plan.warnings.map((words) => el("li", { text: words })))));
  tell(el("p", { class: "first" }, "Goes to ", el("strong", { text: first.provider }), size(first), able.length > 1 ? `, then ${plural(others.length, "other")} if need be` : "", first.warnings.length > 1 && `. ${plural(first.warnings.length, "thing")} will differ:`), notes, more);
}

function size({ parameters: { width, height, aspect_ratio: ratio, resolution } }) {
  if (width && height) return ` at ${width} × ${height}`;
  return ratio || resolution ? ` at ${[ratio, resolution].filter(Boolean).join(", ")}` : "";
}
