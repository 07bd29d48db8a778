// The large view: one picture or video, the facts about it, and what can be done with it. Left, right and Escape work.

import { fileUrl, missing } from "./api.js";
import { all, button, el, find, release, settled } from "./dom.js";
import { focusOn } from "./job-card.js";
import { nextPage, order } from "./gallery.js";
import { goHome, notice, say } from "./notifications.js";
import { jobs, onChange, onDrop, standing } from "./job-store.js";
import { titleOf } from "./request.js";
import { bytes, costOf, moment, number, sentence, took } from "./format.js";

const dialog = find("#viewer");
const still = matchMedia("(prefers-reduced-motion: reduce)");
let deeds = {};
let at = null; // the id of the job that is shown,
let which = 0; // and which of its files

const showable = () => order().filter((id) => jobs.has(id) && standing(jobs.get(id)) === "done");

/** Opens the large view of a job. */
export function open(id) {
  at = id;
  which = 0;
  draw();
  if (!dialog.open) dialog.showModal();
  find("#viewer-close").focus();
}

async function step(by) {
  if (by > 0 && showable().indexOf(at) >= showable().length - 2) await nextPage();
  const ids = showable(); // as they are now: more may have come meanwhile
  const next = ids[ids.indexOf(at) + by];
  if (!dialog.open) return;
  if (!next) {
    say(by > 0 ? "That was the last one." : "That is the newest one.");
    return;
  }
  at = next;
  which = 0;
  redraw();
  say(`${titleOf(jobs.get(at))}, ${number(ids.indexOf(at) + 1)} of ${number(ids.length)}`);
}

/** Draws it anew; what has the focus keeps it, where it is still there. */
function redraw() {
  const focused = document.activeElement?.id;
  draw();
  const again = focused && find(`#${CSS.escape(focused)}`, dialog);
  (again ?? find("#viewer-close")).focus();
}

function turnTo(k) {
  which = k;
  redraw();
}

function draw() {
  const job = jobs.get(at);
  const stage = el("div", { class: "view" });
  const previous = button("", () => step(-1), { kind: "quiet round", drawn: "left", label: "Newer", often: true });
  const next = button("", () => step(1), { kind: "quiet round", drawn: "right", label: "Older", often: true });
  previous.id = "viewer-left";
  next.id = "viewer-right";
  const media = job.media[which];
  show(stage, job, media);
  const several = job.media.length > 1 && el("div", { class: "choices several" }, ...job.media.map((_, k) => {
    const made = button(`${k + 1}`, () => turnTo(k), { kind: "plain", label: `File ${k + 1} of ${job.media.length}`, often: true });
    made.id = `viewer-file-${k}`;
    made.setAttribute("aria-pressed", String(k === which));
    return made;
  }));
  const close = button("", () => dialog.close(), { kind: "quiet round", drawn: "close", label: "Close" });
  close.id = "viewer-close";
  release(find(".view", dialog) ?? dialog);
  dialog.replaceChildren(
    el("div", { class: "view-side" }, stage, el("div", { class: "steps" }, previous, several, next)),
    el("div", { class: "view-facts" }, el("div", { class: "sheet-head" }, el("h2", { text: job.task.endsWith("video") ? "Video" : "Image" }), close), about(job, media), actions(job, media)),
    ...all("#said, #toasts", dialog)); // they stay where they are heard
  arrows();
}

/** Offers the ways there are: the list goes on changing under the picture that is looked at. */
function arrows() {
  if (!dialog.open && at === null) return;
  const ids = showable();
  const here = ids.indexOf(at);
  for (const [id, none] of [["#viewer-left", here <= 0], ["#viewer-right", here < 0 || here >= ids.length - 1]]) {
    find(id, dialog)?.setAttribute("aria-disabled", String(none)); // it keeps the focus: a press too many does nothing
  }
}

function show(stage, job, media) {
  release(stage);
  if (!media) return stage.replaceChildren(el("p", { text: "There is no file." }));
  const gone = async () => {
    const lost = await missing(media.url);
    if (!made.isConnected) return;
    const again = !lost && button("Try again", () => {
      show(stage, job, media);
      find("#viewer-close").focus(); // the arrows work from within the dialog alone
    }, { kind: "plain" });
    stage.replaceChildren(el("p", { text: lost ? "The file is gone from the gateway's disk." : "It cannot be shown now." }), ...(again ? [again] : []));
  };
  const url = fileUrl(media.url);
  const made = media.kind === "video"
    ? el("video", { src: url, controls: true, loop: true, muted: true, playsinline: true, autoplay: !still.matches, "aria-label": titleOf(job), width: media.width, height: media.height, poster: fileUrl(media.thumbnail_url) })
    : el("img", { src: url, alt: job.prompt ? titleOf(job) : "The image", width: media.width, height: media.height });
  made.addEventListener("error", gone, { once: true });
  return stage.replaceChildren(made);
}

function about(job, media) {
  const rest = Object.entries(job.parameters).filter(([name]) => !["width", "height", "seed"].includes(name));
  const rows = [
    ["Model", job.model],
    ["Provider", job.provider],
    ["Seed", job.seed],
    ["Size", media?.width && `${media.width} × ${media.height}`],
    ["File", media && `${media.mime}, ${bytes(media.bytes)}`],
    ["Cost", costOf(job)],
    ["Made", moment(job.created_at)],
    ["Took", took(job.updated_at - job.created_at)],
    ["May be unsafe", media?.nsfw && "The provider flagged it"],
    ...rest.map(([name, value]) => [name.replaceAll("_", " "), typeof value === "string" ? value : JSON.stringify(value)]),
  ].filter(([, value]) => value !== null && value !== undefined && value !== false);
  const notes = [...job.moves, ...job.warnings];
  return el("div", { class: "about", tabindex: "0", role: "group", "aria-label": "Facts" },
    job.prompt && el("p", { class: "whole", text: job.prompt, dir: "auto", tabindex: job.prompt.length > 300 ? "0" : null }),
    el("dl", {}, ...rows.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: String(value) })])),
    notes.length > 0 && el("div", { class: "notes" }, el("h3", { text: "On the way" }), el("ul", {}, ...notes.map((words) => el("li", { text: sentence(words) })))));
}

function actions(job, media) {
  const leave = (deed) => () => {
    dialog.close();
    deed(job, media);
  };
  return el("div", { class: "actions" },
    media && el("a", { class: "plain", href: fileUrl(media.url, { download: true }), download: "", text: "Download" }),
    job.prompt && button("Copy prompt", () => copy(job.prompt), { kind: "plain" }),
    button("Make again", leave(deeds.again), { kind: "plain" }),
    button("Vary", leave(deeds.vary), { kind: "plain" }),
    media?.kind === "image" && button("Use as input", leave(deeds.use), { kind: "plain" }),
    button("Delete", removed, { kind: "plain bad" }));
}

async function removed() {
  const job = jobs.get(at);
  const ids = showable();
  const here = ids.indexOf(at);
  at = ids[here + 1] ?? ids[here - 1] ?? null;
  which = 0;
  if (at === null) dialog.close();
  const done = deeds.remove(job);
  if (at !== null) {
    draw();
    find("#viewer-close").focus();
  }
  await done;
}

async function copy(words) {
  try {
    await navigator.clipboard.writeText(words);
    notice("Prompt copied.");
  } catch {
    const range = document.createRange(); // no clipboard without https: what can be copied is marked instead
    range.selectNodeContents(find(".whole", dialog));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    notice("The prompt is marked: copy it with Ctrl+C.");
  }
}

/** Makes the large view ready; `given` are its deeds. */
export function begin(given) {
  deeds = given;
  const later = settled(arrows, 50);
  onChange(later);
  onDrop((id) => {
    later();
    if (id !== at) return;
    dialog.close();
    notice("What you looked at was deleted.");
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("video")) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    step(by);
  });
  dialog.addEventListener("close", () => {
    if (dialog.open) return; // it was opened again before this was told
    goHome(dialog);
    release(dialog);
    dialog.replaceChildren();
    const made = find(`.card[data-id="${CSS.escape(at ?? "")}"]`);
    at = null;
    if (made && (document.activeElement === document.body || document.activeElement?.closest(".card"))) focusOn(made);
  });
}

