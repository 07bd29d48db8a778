// A job as a card: on its way, in doubt, failed, or the picture that it became. A card keeps its place as its job goes on.

import { clock, fileUrl, missing } from "./api.js";
import { all, button, el, find, icon, release, retext } from "./dom.js";
import { isVideo, standing } from "./job-store.js";
import { titleOf } from "./request.js";
import { briefly, doubted, elapsed, fraction, logLine, moment, moved, sentence, shortModel, standsAt } from "./format.js";

const RETRIES = [3000, 20_000, 60_000]; // milliseconds after which a preview that failed is asked for again
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** A new card. `deeds`: open, cancel, again, change, remove, restore, resolve; each is given the job. */
export function card(job, deeds) {
  const made = el("div", { class: "card", role: "listitem", "data-id": job.id, tabindex: "-1" });
  made.deeds = deeds;
  update(made, job);
  return made;
}

/** Gives a card the keyboard's focus: its picture, or the card itself, and never a button that decides something. */
export const focusOn = (made) => (find(".tile", made) ?? made).focus();

/** Shows the job as it stands now. A card that had the keyboard's focus keeps it. */
export function update(made, job) {
  const state = standing(job);
  made.job = job;
  if (made.dataset.state === "open" && state === "open") return refresh(made, job);
  const focused = made.contains(document.activeElement) && document.activeElement;
  const same = made.dataset.state === state;
  made.dataset.state = state;
  release(made);
  made.replaceChildren(...PARTS[state](job, made.deeds));
  if (state === "open") refresh(made, job);
  if (!focused) return undefined;
  const again = same && all("button", made).find((one) => one.className === focused.className && one.textContent === focused.textContent);
  if (again) again.focus();
  else focusOn(made);
  return undefined;
}

/** Moves the clock of an open card on. */
export function tick(made) {
  const line = find(".clock", made);
  if (line) retext(line, elapsed(clock() / 1000 - made.job.created_at));
}

const prompt = (job) => el("p", { class: "prompt", dir: "auto", text: titleOf(job), title: (job.prompt ?? "").slice(0, 2000) || null });
const facts = (job, ...more) => el("p", { class: "facts" }, el("span", { text: shortModel(job.model), title: job.model }), ...more);
const what = (job) => (isVideo(job) ? "video" : "image");

/** A button whose deed is done once at a time; it says that it is being done, and keeps the focus. */
function once(words, during, deed, label = null) {
  const made = button(words, async () => {
    if (made.getAttribute("aria-disabled")) return;
    made.setAttribute("aria-disabled", "true");
    find("span", made).textContent = during;
    await deed();
    made.removeAttribute("aria-disabled");
    find("span", made).textContent = words;
  }, { kind: "plain", label });
  return made;
}

/** What was said, which scrolls where it is long. */
const quoted = (words) => words && el("p", { class: "said", text: words, tabindex: words.length > 80 ? "0" : null });
const decision = (job, words, during, deed) => once(words, during, deed, `${words} (${titleOf(job)})`);

const PARTS = {
  open: (job, deeds) => [
    el("div", { class: "stage" },
      el("p", { class: "stands" }),
      el("progress", { max: "1", "aria-label": `Progress of ${titleOf(job)}` }),
      el("p", { class: "log" }),
      el("ul", { class: "moves" }),
      el("div", { class: "line" }, el("span", { class: "clock" }), once("Cancel", "Cancelling…", () => deeds.cancel(job.id), `Cancel ${titleOf(job)}`))),
    prompt(job),
    facts(job),
  ],
  done: (job, deeds) => [tile(job, deeds), prompt(job), facts(job, el("span", { text: briefly(job.created_at), title: moment(job.created_at) }))],
  failed: (job, deeds) => ended(job, deeds, job.error?.kind === "dropped" ? "Let go" : `This ${what(job)} failed`),
  cancelled: (job, deeds) => ended(job, deeds, "Cancelled"),
  deleted: (job, deeds) => [
    el("div", { class: "stage trouble-stage" },
      el("h3", {}, el("span", { text: `Deleted at ${briefly(job.deleted_at)}` })),
      el("p", { text: "It can be brought back for an hour." }),
      el("div", { class: "choices" }, once("Bring back", "Bringing back…", () => deeds.restore(job), `Bring back ${titleOf(job)}`))),
    prompt(job),
    facts(job),
  ],
  doubt: (job, deeds) => [
    el("div", { class: "stage trouble-stage doubtful" },
      el("h3", {}, icon("alert"), el("span", { text: "It may or may not have been sent" })),
      el("p", { text: `${doubted(job)} Nobody here knows whether ${job.provider ?? "the provider"} took the order and bills it. It is never sent again by itself.` }),
      el("p", { text: `Look at ${job.provider ?? "the provider"}'s own dashboard, then choose:` }),
      el("div", { class: "choices" },
        decision(job, "It is not there: send again", "Sending…", () => deeds.resolve(job.id, "resend")),
        decision(job, "It is there: let it go", "Letting go…", () => deeds.resolve(job.id, "drop")))),
    prompt(job),
    facts(job),
  ],
};

function ended(job, deeds, title) {
  const failed = standing(job) === "failed" && job.error?.kind !== "dropped";
  const said = job.error?.message && failed ? sentence(job.error.message) : "";
  return [
    el("div", { class: `stage trouble-stage ${failed ? "bad" : ""}` },
      el("h3", {}, failed && icon("alert"), el("span", { text: title })),
      quoted(said),
      el("p", { text: failed ? `${job.may_be_billed ? "" : "Nothing was billed. "}${job.error?.next ?? "Change something, and make it again."}` : job.error?.kind === "dropped" ? job.error.next : job.may_be_billed ? "The provider had begun, so it may still be billed." : "Nothing was billed." }),
      el("div", { class: "choices" },
        button("Change and retry", () => deeds.change(job), { kind: "plain", label: `Change and retry ${titleOf(job)}` }),
        job.task.startsWith("text") && button("Make again", () => deeds.again(job), { kind: "quiet", label: `Make again ${titleOf(job)}` }),
        button("Delete", () => deeds.remove(job), { kind: "quiet", label: `Delete ${titleOf(job)}` }))),
    prompt(job),
    facts(job, el("span", { text: briefly(job.created_at), title: moment(job.created_at) })),
  ];
}

function tile(job, deeds) {
  const [media] = job.media;
  const several = job.media.length > 1 ? `${job.media.length} files` : "";
  const words = `${what(job)[0].toUpperCase()}${what(job).slice(1)}: ${titleOf(job)}${several && `, ${several}`}`;
  const open = el("button", { type: "button", class: "tile", "aria-label": words, on: { click: () => deeds.open(job.id) } });
  if (!media) {
    open.append(el("span", { class: "gone", text: "No file" }));
    return open;
  }
  open.append(preview(media), ...(several ? [el("span", { class: "count", text: several })] : []));
  if (media.kind === "video") moving(open, media);
  return open;
}

/** The small picture of a file. Where it does not come it is asked for a few times more, unless it is gone for good. */
function preview(media, tries = RETRIES) {
  const image = el("img", { src: fileUrl(media.thumbnail_url), alt: "", loading: "lazy", decoding: "async", width: media.width, height: media.height });
  image.addEventListener("error", async () => {
    const words = el("span", { class: "gone", text: "No preview now" });
    image.replaceWith(words);
    if (await missing(media.url)) retext(words, "The file is gone");
    else if (tries.length) setTimeout(() => words.isConnected && words.replaceWith(preview(media, tries.slice(1))), tries[0]);
    else retext(words, "No preview");
  }, { once: true });
  return image;
}

/** A video's tile plays while it is pointed at or focused. */
function moving(open, media) {
  const badge = el("span", { class: "badge" }, icon("play"));
  open.append(badge);
  let film = null;
  const play = () => {
    if (film || still.matches) return;
    film = el("video", { src: fileUrl(media.url), muted: true, loop: true, playsinline: true, preload: "auto", tabindex: "-1", "aria-hidden": "true" });
    film.play().catch(() => {}); // it was left before it began
    open.append(film);
  };
  const stop = () => {
    if (!film) return;
    release(open);
    film.remove();
    film = null;
  };
  for (const event of ["pointerenter", "focus"]) open.addEventListener(event, play);
  for (const event of ["pointerleave", "blur"]) open.addEventListener(event, stop);
}

function refresh(made, job) {
  retext(find(".stands", made), standsAt(job));
  const bar = find("progress", made);
  const far = fraction(job);
  if (far === null) bar.removeAttribute("value");
  else bar.value = far;
  retext(find(".log", made), logLine(job.message));
  const moves = find(".moves", made);
  const told = job.moves.slice(moves.childElementCount);
  moves.append(...told.map((words) => {
    const [move, why] = moved(words);
    return el("li", { title: words }, icon("moved"), el("span", {}, el("strong", { text: move }), why && ` ${why}`));
  }));
  tick(made);
}
