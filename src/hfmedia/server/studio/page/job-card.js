// The card of a job: open, in doubt, failed, or its finished image or video. A card keeps its place as its job changes.

import { isMissing, serverNow } from "./api.js";
import { all, button, el, find, icon, setText, unloadVideos } from "./dom.js";
import { failoverText, formatDateTime, formatDoubt, formatElapsed, formatFailover, formatLogLine, formatShort, formatStage, progressOf, sentence, shortModelName } from "./format.js";
import { isVideo } from "./job-store.js";
import { titleOf } from "./request.js";

const RETRY_DELAYS = [3000, 20_000, 60_000]; // milliseconds after which a thumbnail that failed to load is requested again
const SCROLL_CHARS = 80; // from which a provider's message may need to scroll
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

/** Creates a card. `actions`: those of job-actions.js; each is given the job. */
export function createCard(job, actions) {
  const card = el("div", { class: "card", role: "listitem", "data-id": job.id, tabindex: "-1" });
  card.actions = actions;
  update(card, job);
  return card;
}

/** Focuses a card: its thumbnail, or the card itself, but never a button that triggers something. */
export const focusCard = (card) => (find(".tile", card) ?? card).focus();

/** Updates a card to the current version of its job. The focus stays within it. */
export function update(card, job) {
  card.job = job;
  const sameStatus = card.dataset.status === job.status;
  if (sameStatus && job.status === "open") return refresh(card, job);
  const focused = card.contains(document.activeElement) && document.activeElement;
  card.dataset.status = job.status;
  unloadVideos(card);
  card.replaceChildren(...CONTENT[job.status](job, card.actions));
  if (job.status === "open") refresh(card, job);
  if (!focused) return undefined;
  const sameButton = sameStatus && all("button", card).find((each) => each.className === focused.className && each.textContent === focused.textContent);
  if (sameButton) sameButton.focus();
  else focusCard(card);
  return undefined;
}

/** Updates the elapsed time of an open card. */
export function updateClock(card) {
  const clock = find(".elapsed", card);
  if (clock) setText(clock, formatElapsed(serverNow() / 1000 - card.job.createdAt));
}

const prompt = (job) => el("p", { class: "card-prompt", dir: "auto", text: titleOf(job), title: (job.prompt ?? "").slice(0, 2000) || null });
const meta = (job, ...more) => el("p", { class: "card-meta" }, el("span", { text: shortModelName(job.model), title: job.model }), ...more);
const createdAt = (job) => el("span", { text: formatShort(job.createdAt), title: formatDateTime(job.createdAt) });
const kindOf = (job) => (isVideo(job) ? "video" : "image");

/** A button whose action runs once at a time; meanwhile it shows `busyText` and keeps the focus. */
function actionButton(text, busyText, action, label = null) {
  const element = button(text, async () => {
    if (element.getAttribute("aria-disabled")) return;
    element.setAttribute("aria-disabled", "true");
    find("span", element).textContent = busyText;
    await action();
    element.removeAttribute("aria-disabled");
    find("span", element).textContent = text;
  }, { style: "outlined", label });
  return element;
}

const decisionButton = (job, text, busyText, action) => actionButton(text, busyText, action, `${text} (${titleOf(job)})`);
const providerMessage = (text) => text && el("p", { class: "provider-message", text, tabindex: text.length > SCROLL_CHARS ? "0" : null });

const CONTENT = {
  open: (job, actions) => [
    el("div", { class: "job-panel" },
      el("p", { class: "job-stage" }),
      el("progress", { max: "1", "aria-label": `Progress of ${titleOf(job)}` }),
      el("p", { class: "job-log" }),
      el("ul", { class: "failovers" }),
      el("div", { class: "job-footer" }, el("span", { class: "elapsed" }), actionButton("Cancel", "Canceling…", () => actions.cancel(job), `Cancel ${titleOf(job)}`))),
    prompt(job),
    meta(job),
  ],
  done: (job, actions) => [tile(job, actions), prompt(job), meta(job, createdAt(job))],
  failed: (job, actions) => ended(job, actions, job.error?.dismissed ? "Dismissed" : `This ${kindOf(job)} failed`),
  cancelled: (job, actions) => ended(job, actions, "Canceled"),
  deleted: (job, actions) => [
    el("div", { class: "job-panel job-ended" },
      el("h3", {}, el("span", { text: `Deleted at ${formatShort(job.deletedAt)}` })),
      el("p", { text: "Can be restored for one hour after deletion." }),
      el("div", { class: "card-actions" }, actionButton("Restore", "Restoring…", () => actions.restore(job), `Restore ${titleOf(job)}`))),
    prompt(job),
    meta(job),
  ],
  in_doubt: (job, actions) => [
    el("div", { class: "job-panel job-ended in-doubt" },
      el("h3", {}, icon("alert"), el("span", { text: "In doubt" })),
      el("p", { text: `${formatDoubt(job)} It is unknown whether ${job.provider ?? "the provider"} accepted the request and bills it. It is never resent automatically.` }),
      el("p", { text: `Check ${job.provider ?? "the provider"}'s own dashboard, then choose:` }),
      el("div", { class: "card-actions" },
        decisionButton(job, "Not there: resend", "Resending…", () => actions.resend(job)),
        decisionButton(job, "It is there: dismiss", "Dismissing…", () => actions.dismiss(job)))),
    prompt(job),
    meta(job),
  ],
};

function ended(job, actions, title) {
  const dismissed = job.error?.dismissed === true;
  const failed = job.status === "failed" && !dismissed;
  const unbilled = job.mayBeBilled ? "" : "Nothing was billed. ";
  const failureHint = `${unbilled}${job.error?.hint ?? "Change the request, then run it again."}`;
  const cancelHint = job.mayBeBilled ? "The provider had started, so it may still be billed." : "Nothing was billed.";
  return [
    el("div", { class: `job-panel job-ended ${failed ? "danger" : ""}` },
      el("h3", {}, failed && icon("alert"), el("span", { text: title })),
      providerMessage(failed ? sentence(job.error?.message) : ""),
      el("p", { text: failed ? failureHint : dismissed ? job.error.hint : cancelHint }),
      el("div", { class: "card-actions" },
        button("Edit and retry", () => actions.edit(job), { style: "outlined", label: `Edit and retry ${titleOf(job)}` }),
        job.task.startsWith("text") && button("Run again", () => actions.repeat(job), { style: "ghost", label: `Run again ${titleOf(job)}` }),
        button("Delete", () => actions.remove(job), { style: "ghost", label: `Delete ${titleOf(job)}` }))),
    prompt(job),
    meta(job, createdAt(job)),
  ];
}

function tile(job, actions) {
  const [media] = job.media;
  const count = job.media.length > 1 ? `${job.media.length} files` : "";
  const kind = isVideo(job) ? "Video" : "Image";
  const element = el("button", { type: "button", class: "tile", "aria-label": `${kind}: ${titleOf(job)}${count && `, ${count}`}`, on: { click: () => actions.open(job.id) } });
  if (!media) {
    element.append(el("span", { class: "media-missing", text: "No file" }));
    return element;
  }
  element.append(thumbnail(media), ...(count ? [el("span", { class: "count", text: count })] : []));
  if (media.kind === "video") playOnHover(element, media);
  return element;
}

/** The thumbnail of a file. If it fails to load it is requested a few times more, unless the file is gone. */
function thumbnail(media, delays = RETRY_DELAYS) {
  const image = el("img", { src: media.thumbnailUrl, alt: "", loading: "lazy", decoding: "async", width: media.width, height: media.height });
  image.addEventListener("error", async () => {
    const text = el("span", { class: "media-missing", text: "No preview right now" });
    image.replaceWith(text);
    if (await isMissing(media.url)) setText(text, "The file is gone");
    else if (delays.length) setTimeout(() => text.isConnected && text.replaceWith(thumbnail(media, delays.slice(1))), delays[0]);
    else setText(text, "No preview");
  }, { once: true });
  return image;
}

/** Plays a video in its tile while it is hovered or focused. */
function playOnHover(element, media) {
  element.append(el("span", { class: "badge" }, icon("play")));
  let video = null;
  const play = () => {
    if (video || reducedMotion.matches) return;
    video = el("video", { src: media.url, muted: true, loop: true, playsinline: true, preload: "auto", tabindex: "-1", "aria-hidden": "true" });
    video.play().catch(() => {}); // the pointer left before it started
    element.append(video);
  };
  const stop = () => {
    if (!video) return;
    unloadVideos(element);
    video.remove();
    video = null;
  };
  for (const event of ["pointerenter", "focus"]) element.addEventListener(event, play);
  for (const event of ["pointerleave", "blur"]) element.addEventListener(event, stop);
}

/** Updates the parts of an open card that change while its job runs. */
function refresh(card, job) {
  setText(find(".job-stage", card), formatStage(job));
  const bar = find("progress", card);
  const progress = progressOf(job);
  if (progress === null) bar.removeAttribute("value");
  else bar.value = progress;
  setText(find(".job-log", card), formatLogLine(job.message));
  const list = find(".failovers", card);
  list.append(...job.failovers.slice(list.childElementCount).map((failover) => {
    const [headline, reason] = formatFailover(failover);
    return el("li", { title: failoverText(failover) }, icon("failover"), el("span", {}, el("strong", { text: headline }), reason && ` ${reason}`));
  }));
  updateClock(card);
}
