// The studio, put together: first the form, then the gallery and the stream that keeps it true, then everything else.

import { api, fileUrl } from "./api.js";
import { find, retext } from "./dom.js";
import { tab } from "./storage.js";
import * as make from "./form.js";
import { takeFrom } from "./input-image.js";
import { notice, say } from "./notifications.js";
import { isVideo, jobs, onChange, put, standing } from "./job-store.js";
import { cut, nextSeed, ofJob, titleOf } from "./request.js";
import { inOneLine } from "./format.js";

const BRIEF = 1500; // milliseconds for which a lost connection is not worth a word
const SOON = 300; // milliseconds that the gallery waits for the stream
let health = null;
const later = {}; // what comes after the form: the gallery; and once that is there the large view, the costs, the settings

/** A deed at the gateway; its failure is told, and leaves everything as it was. */
const trying = (deed) => async (...given) => {
  try {
    await deed(...given);
  } catch (trouble) {
    notice(inOneLine(trouble), { trouble: true });
  }
};

/** Sends a wish made of a job; one that began with an image goes into the form, since the image is not kept. */
async function resend(job, change = {}) {
  const wish = { ...ofJob(job), ...change };
  if (job.task.startsWith("text")) {
    await make.send(wish);
    return;
  }
  await refill(wish);
}

/** Fills the form; the image that a wish began with is not kept, and only a person can bring it back. */
async function refill(wish) {
  const { lost, back } = await make.fill(wish);
  const words = [
    (back || make.lacks()) && "The form is filled.",
    make.lacks() && "Add the image it began with, then make it.",
    lost.length > 0 && `The form has no place for ${lost.join(", ")}: look whether it says what you mean.`,
  ].filter(Boolean);
  if (words.length) notice(words.join(" "), { back });
}

/** Sends a wish with the next seed; with the same one again until it is known that it was ordered. */
async function vary(job) {
  const unsent = () => tab.read("varying", {}) ?? {};
  const seed = unsent()[job.id] ?? nextSeed(job, jobs.values());
  tab.write("varying", { ...unsent(), [job.id]: seed });
  await resend(job, { seed });
  const { [job.id]: _, ...others } = unsent();
  tab.write("varying", others);
}

const deeds = {
  open: (id) => later.viewer?.open(id),
  cancel: trying(async (id) => put(await api.cancel(id))),
  resolve: trying(async (id, decision) => put(await api.resolve(id, decision))),
  again: trying((job) => resend(job)),
  vary: trying(vary),
  change: trying((job) => refill(ofJob(job))),
  use: trying(async (job, media) => {
    await takeFrom(fileUrl(media.url), `${cut(titleOf(job), 40)}.${media.mime.split("/").pop()}`);
    make.show();
  }),
  remove: (job) => later.gallery?.remove(job),
  restore: trying(async (job) => put(await api.restore(job.id))),
  idea: (words) => {
    find("#prompt").value = words;
    find("#prompt").dispatchEvent(new Event("input", { bubbles: true }));
    find("#prompt").focus();
  },
};

/** What is worth saying aloud: beginnings and ends, and who moved where; never each percent. */
onChange((job, before) => {
  if (!before) return;
  const thing = `${isVideo(job) ? "Video" : "Image"} “${titleOf(job)}”`;
  const [now, then] = [standing(job), standing(before)];
  if (now !== then) {
    const words = { done: "is ready", failed: "failed", cancelled: "was cancelled", doubt: "needs your decision", open: "is under way" };
    say(`${thing} ${words[now]}.`);
    later.overview?.refresh();
  } else if (job.moves.length > before.moves.length) say(`${thing}: ${job.moves.at(-1)}.`);
  else if (now === "open" && job.stage !== before.stage && job.stage === "running") say(`${thing} is being made.`);
});

async function enter() {
  health = (await api.health().catch(() => null)) ?? health;
  find("#simulated").hidden = !health?.sandbox;
}

const offline = (words) => {
  const line = find("#offline");
  retext(line, words);
  line.hidden = words === "";
};

/** What was made, and the stream that tells of it. */
async function gather() {
  const [gallery, { listen }] = await Promise.all([import("./gallery.js"), import("./event-stream.js")]);
  later.gallery = gallery;
  gallery.begin(deeds);
  let patience = 0;
  let turn = 0; // grows with each begin: what is found out about the silence before it comes too late
  let loaded = null;
  let begun = () => {};
  let heard = false;
  const listening = new Promise((resolve) => { begun = resolve; });
  const caughtUp = () => gallery.catchUp().catch((trouble) => notice(inOneLine(trouble), { trouble: true }));
  listen({
    hear: put,
    ready: (again) => {
      clearTimeout(patience);
      turn += 1;
      offline("");
      gallery.hears();
      heard = true;
      begun();
      if (!health) enter();
      if (again) caughtUp();
      else loaded?.then(caughtUp); // what changed before it listened
      if (!again) return;
      make.calm();
      enter();
      later.overview?.refresh();
    },
    lost: (trouble) => {
      gallery.deaf();
      clearTimeout(patience);
      patience = setTimeout(async (mine) => {
        const words = await unheard(trouble);
        if (mine === turn) offline(words);
      }, BRIEF, turn);
    },
    rests: gallery.deaf,
  });
  await Promise.race([listening, new Promise((resolve) => setTimeout(resolve, SOON))]); // what is read after that is whole
  if (!heard) gallery.deaf();
  loaded = gallery.load();
}

/** Why nothing is heard: the gateway is gone, or its stream is. */
async function unheard(trouble) {
  const there = await api.health().catch(() => null);
  if (!there) return "The gateway does not answer. What is under way goes on there; this page looks for it again.";
  if (trouble?.status) return `There is no live news: ${inOneLine(trouble)}`;
  return "Live news do not come through: something on the way holds them back. This page asks every quarter of a minute instead.";
}

async function complete() {
  make.complete();
  await gather();
  const [viewer, overview, settings] = await Promise.all([import("./lightbox.js"), import("./usage-dialog.js"), import("./settings.js")]);
  viewer.begin(deeds);
  overview.begin();
  settings.begin(() => health);
  Object.assign(later, { viewer, overview });
}

const begin = () => complete().catch(() => offline("A part of this page did not arrive. Reload it: the form keeps what it says."));

make.begin((begun) => later.gallery?.present(begun));
enter();
if (document.readyState === "complete") begin();
else addEventListener("load", begin, { once: true });
