// The preview: asks the gateway what a request would do while the form is edited, before anything is submitted.

import { api } from "./api.js";
import { debounce, el, find, focusableIfScrollable } from "./dom.js";
import { plural } from "./format.js";

const DELAY = 350; // milliseconds after the last change
const ANY_PROMPT = "a picture"; // the prompt does not affect the routing, so the form's own is not sent
const area = find("#preview");
let abort = null;
let lastFingerprint = "";
let model = null; // of the shown preview

/**
 * Shows where a request would be sent, unless that is shown already; nothing for null. Calls `onResult(error, model)`
 * with an error that makes the request impossible, or else with the model that would be used.
 */
export const updatePreview = debounce(async (request, image, onResult) => {
  if (!request) {
    abort?.abort();
    lastFingerprint = "";
    render();
    return;
  }
  const probe = { ...request, n: 1, prompt: ANY_PROMPT };
  const fingerprint = JSON.stringify([probe, image?.name, image?.size, image?.lastModified]);
  if (fingerprint === lastFingerprint) {
    if (model) onResult(null, model);
    return;
  }
  [lastFingerprint, model] = [fingerprint, null];
  abort?.abort();
  abort = new AbortController();
  try {
    const routes = await api.preview(probe, image, abort.signal);
    model = routes[0]?.model ?? null;
    onResult(null, model);
    show(routes);
  } catch (error) {
    if (error.name === "AbortError") return;
    lastFingerprint = "";
    render();
    if (error.status === 400 || error.status === 403) onResult(error);
  }
}, DELAY);

/** Replaces the content if its text differs: nothing is announced twice, and open details stay open. */
function render(...parts) {
  const content = el("div", {}, ...parts);
  if (content.textContent === area.textContent) return;
  const focused = area.contains(document.activeElement);
  const [before, after] = [find("details", area), find("details", content)];
  if (before && after) after.open = before.open;
  area.replaceChildren(...content.children);
  focusableIfScrollable(area);
  if (!focused) return;
  area.setAttribute("tabindex", "0");
  area.focus();
}

function show(routes) {
  const [first, ...fallbacks] = routes.filter((route) => route.rejection === null);
  if (!first) {
    const reason = routes[0]?.rejection;
    render(reason && el("p", { class: "note", text: reason }));
    return;
  }
  const warnings = first.warnings.length > 0 && el("ul", { class: "note" }, ...first.warnings.map((text) => el("li", { text })));
  const differing = fallbacks.filter((route) => route.warnings.length);
  const details = differing.length > 0 && el("details", {},
    el("summary", { text: `${plural(differing.length, "fallback")} would change something` }),
    el("ul", {}, ...differing.flatMap((route) => route.warnings.map((text) => el("li", { text })))));
  const others = fallbacks.length > 0 && `; falls back to ${plural(fallbacks.length, "other")}`;
  render(el("p", {}, "Sends to ", el("strong", { text: first.provider }), sizeText(first), others, first.warnings.length > 1 && `. ${plural(first.warnings.length, "change")}:`), warnings, details);
}

function sizeText({ parameters: { width, height, aspect_ratio: ratio, resolution } }) {
  if (width && height) return ` at ${width} × ${height}`;
  return ratio || resolution ? ` at ${[ratio, resolution].filter(Boolean).join(", ")}` : "";
}
