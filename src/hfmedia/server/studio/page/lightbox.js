// The lightbox: one image or video at full size, its details and actions. Arrow keys step through, Escape closes.

import { isMissing } from "./api.js";
import { all, button, debounce, el, find, unloadVideos } from "./dom.js";
import { failoverText, formatBytes, formatCost, formatDateTime, formatDuration, formatNumber, sentence } from "./format.js";
import { displayOrder, loadNextPage } from "./gallery.js";
import { focusCard } from "./job-card.js";
import { isVideo, jobs, onChange, onRemove } from "./job-store.js";
import { announce, moveOutOf, toast } from "./notifications.js";
import { titleOf } from "./request.js";

const SCROLL_CHARS = 300; // from which a prompt may need to scroll
const ARROWS_DELAY = 50; // milliseconds in which several changes of the list are combined
const dialog = find("#lightbox");
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
let actions = {};
let currentId = null; // the id of the shown job
let fileIndex = 0;

const showableIds = () => displayOrder().filter((id) => jobs.get(id)?.status === "done");

/** Opens the lightbox with a job. */
export function open(id) {
  currentId = id;
  fileIndex = 0;
  render();
  if (!dialog.open) dialog.showModal();
  find("#lightbox-close").focus();
}

async function step(offset) {
  if (offset > 0 && showableIds().indexOf(currentId) >= showableIds().length - 2) await loadNextPage();
  const ids = showableIds(); // the list may have changed meanwhile
  const nextId = ids[ids.indexOf(currentId) + offset];
  if (!dialog.open) return;
  if (!nextId) {
    announce(offset > 0 ? "This is the last one." : "This is the newest one.");
    return;
  }
  currentId = nextId;
  fileIndex = 0;
  renderAgain();
  announce(`${titleOf(jobs.get(currentId))}, ${formatNumber(ids.indexOf(currentId) + 1)} of ${formatNumber(ids.length)}`);
}

/** Renders again; the focus stays on the same control if it still exists. */
function renderAgain() {
  const focusedId = document.activeElement?.id;
  render();
  const control = focusedId && find(`#${CSS.escape(focusedId)}`, dialog);
  (control ?? find("#lightbox-close")).focus();
}

function showFile(index) {
  fileIndex = index;
  renderAgain();
}

function iconButton(id, iconName, label, onClick, repeatable = false) {
  const element = button("", onClick, { style: "ghost icon-button", iconName, label, repeatable });
  element.id = id;
  return element;
}

function fileTabs(job) {
  return job.media.length > 1 && el("div", { class: "card-actions file-tabs" }, ...job.media.map((_, k) => {
    const tab = button(`${k + 1}`, () => showFile(k), { style: "outlined", label: `File ${k + 1} of ${job.media.length}`, repeatable: true });
    tab.id = `lightbox-file-${k}`;
    tab.setAttribute("aria-pressed", String(k === fileIndex));
    return tab;
  }));
}

function render() {
  const job = jobs.get(currentId);
  const media = job.media[fileIndex];
  const frame = el("div", { class: "lightbox-media" });
  showMedia(frame, job, media);
  const newer = iconButton("lightbox-newer", "left", "Newer", () => step(-1), true);
  const older = iconButton("lightbox-older", "right", "Older", () => step(1), true);
  const close = iconButton("lightbox-close", "close", "Close", () => dialog.close());
  unloadVideos(find(".lightbox-media", dialog) ?? dialog);
  dialog.replaceChildren(
    el("div", { class: "lightbox-main" }, frame, el("div", { class: "lightbox-nav" }, newer, fileTabs(job), older)),
    el("div", { class: "lightbox-side" }, el("div", { class: "sheet-head" }, el("h2", { text: isVideo(job) ? "Video" : "Image" }), close), details(job, media), actionButtons(job, media)),
    ...all("#announcements, #toasts", dialog)); // the live region stays in the open dialog
  updateArrows();
}

/** Enables the arrows as the list changes behind the lightbox. */
function updateArrows() {
  if (!dialog.open && currentId === null) return;
  const ids = showableIds();
  const index = ids.indexOf(currentId);
  for (const [id, disabled] of [["#lightbox-newer", index <= 0], ["#lightbox-older", index < 0 || index >= ids.length - 1]]) {
    find(id, dialog)?.setAttribute("aria-disabled", String(disabled)); // stays focusable: an extra press does nothing
  }
}

function showMedia(frame, job, media) {
  unloadVideos(frame);
  if (!media) return frame.replaceChildren(el("p", { text: "This job has no file." }));
  const onError = async () => {
    const missing = await isMissing(media.url);
    if (!element.isConnected) return;
    const retry = !missing && button("Try again", () => {
      showMedia(frame, job, media);
      find("#lightbox-close").focus(); // the arrow keys work only with the focus in the dialog
    }, { style: "outlined" });
    frame.replaceChildren(el("p", { text: missing ? "The file was removed from the gateway's disk." : "This file cannot be loaded right now." }), ...(retry ? [retry] : []));
  };
  const element = media.kind === "video"
    ? el("video", { src: media.url, controls: true, loop: true, muted: true, playsinline: true, autoplay: !reducedMotion.matches, "aria-label": titleOf(job), width: media.width, height: media.height, poster: media.thumbnailUrl })
    : el("img", { src: media.url, alt: job.prompt ? titleOf(job) : "The image", width: media.width, height: media.height });
  element.addEventListener("error", onError, { once: true });
  return frame.replaceChildren(element);
}

function details(job, media) {
  const otherParameters = Object.entries(job.parameters).filter(([name]) => !["width", "height", "seed"].includes(name));
  const rows = [
    ["Model", job.model],
    ["Provider", job.provider],
    ["Seed", job.seed],
    ["Size", media?.width && `${media.width} × ${media.height}`],
    ["File", media && `${media.mime}, ${formatBytes(media.bytes)}`],
    ["Cost", formatCost(job)],
    ["Created", formatDateTime(job.createdAt)],
    ["Duration", formatDuration(job.updatedAt - job.createdAt)],
    ["May be unsafe", media?.nsfw && "Flagged by the provider"],
    ...otherParameters.map(([name, value]) => [name.replaceAll("_", " "), typeof value === "string" ? value : JSON.stringify(value)]),
  ].filter(([, value]) => value !== null && value !== undefined && value !== false);
  const notes = [...job.failovers.map(failoverText), ...job.warnings];
  return el("div", { class: "lightbox-details", tabindex: "0", role: "group", "aria-label": "Details" },
    job.prompt && el("p", { class: "full-prompt", text: job.prompt, dir: "auto", tabindex: job.prompt.length > SCROLL_CHARS ? "0" : null }),
    el("dl", {}, ...rows.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: String(value) })])),
    notes.length > 0 && el("div", { class: "job-notes" }, el("h3", { text: "Notes" }), el("ul", {}, ...notes.map((text) => el("li", { text: sentence(text) })))));
}

function actionButtons(job, media) {
  const closeThen = (action) => () => {
    dialog.close();
    action(job, media);
  };
  return el("div", { class: "lightbox-actions" },
    media && el("a", { class: "outlined", href: media.downloadUrl, download: "", text: "Download" }),
    job.prompt && button("Copy prompt", () => copy(job.prompt), { style: "outlined" }),
    button("Run again", closeThen(actions.repeat), { style: "outlined" }),
    button("Vary", closeThen(actions.vary), { style: "outlined" }),
    media?.kind === "image" && button("Use as input", closeThen(actions.useAsInput), { style: "outlined" }),
    button("Delete", deleteCurrent, { style: "outlined danger" }));
}

function focusCardOf(id) {
  const card = find(`.card[data-id="${CSS.escape(id)}"]`);
  if (card) focusCard(card);
}

async function deleteCurrent() {
  const job = jobs.get(currentId);
  const ids = showableIds();
  const index = ids.indexOf(currentId);
  currentId = ids[index + 1] ?? ids[index - 1] ?? null;
  fileIndex = 0;
  if (currentId === null) {
    dialog.close();
    if (document.activeElement === document.body || dialog.contains(document.activeElement)) focusCardOf(job.id); // the opener is gone, or was replaced
  }
  const deletion = actions.remove(job);
  if (currentId !== null) {
    render();
    find("#lightbox-close").focus();
  }
  await deletion;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Prompt copied.");
  } catch {
    const range = document.createRange(); // no clipboard without https: select the text instead
    range.selectNodeContents(find(".full-prompt", dialog));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    toast("The prompt is selected: copy it with Ctrl+C.");
  }
}

/** Initializes the lightbox with its actions. */
export function init(jobActions) {
  actions = jobActions;
  const updateArrowsSoon = debounce(updateArrows, ARROWS_DELAY);
  onChange(updateArrowsSoon);
  onRemove((id) => {
    updateArrowsSoon();
    if (id !== currentId) return;
    dialog.close();
    toast("The job you were viewing was deleted.");
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("video")) return;
    const offset = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!offset) return;
    event.preventDefault();
    step(offset);
  });
  dialog.addEventListener("close", () => {
    if (dialog.open) return; // reopened before this event
    moveOutOf(dialog);
    unloadVideos(dialog);
    dialog.replaceChildren();
    if (document.activeElement === document.body || document.activeElement?.closest(".card")) focusCardOf(currentId ?? "");
    currentId = null;
  });
}
