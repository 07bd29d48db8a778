// The studio, put together: first the form, then the gallery and the stream that keeps it true, then everything else.

import { api, fileUrl } from "./api.js";
import { bring, find, retext } from "./dom.js";
import * as make from "./make.js";
import { takeFrom } from "./picture.js";
import { notice, say } from "./say.js";
import { isVideo, jobs, onChange, put, standing } from "./state.js";
import { nextSeed, ofJob, titleOf } from "./wish.js";
import { inOneLine } from "./words.js";

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
    scrollTo({ top: 0 });
    bring(find("#made"));
    return;
  }
  await make.fill(wish);
  notice("The form is filled. Add the image it began with, then make it.");
}

const deeds = {
  open: (id) => later.viewer?.open(id),
  cancel: trying(async (id) => put(await api.cancel(id))),
  resolve: trying(async (id, decision) => put(await api.resolve(id, decision))),
  again: trying((job) => resend(job)),
  vary: trying((job) => resend(job, { seed: nextSeed(job, jobs.values()) })),
  change: trying((job) => make.fill(ofJob(job))),
  use: trying((job) => takeFrom(fileUrl(job.media[0].url), `${titleOf(job).slice(0, 40)}.${job.media[0].mime.split("/").pop()}`)),
  remove: (job) => later.gallery?.remove(job),
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
  health = await api.health().catch(() => null);
  find("#simulated").hidden = !health?.sandbox;
}

const offline = (words) => {
  const line = find("#offline");
  retext(line, words);
  line.hidden = words === "";
};

/** What was made, and the stream that tells of it. */
async function gather() {
  const [gallery, { listen }] = await Promise.all([import("./gallery.js"), import("./stream.js")]);
  later.gallery = gallery;
  gallery.begin(deeds);
  const loaded = gallery.load();
  let patience = 0;
  listen({
    hear: put,
    ready: async (again) => {
      clearTimeout(patience);
      offline("");
      await loaded;
      gallery.catchUp().catch((trouble) => notice(inOneLine(trouble), { trouble: true })); // what came before it listened
      if (!again) return;
      enter();
      later.overview?.refresh();
    },
    lost: () => {
      clearTimeout(patience);
      patience = setTimeout(() => offline("The gateway does not answer. What is under way goes on there; this page looks for it again."), 1500);
    },
  });
}

async function complete() {
  make.complete();
  await gather();
  const [viewer, overview, settings] = await Promise.all([import("./viewer.js"), import("./overview.js"), import("./settings.js")]);
  viewer.begin(deeds);
  overview.begin();
  settings.begin(() => health);
  Object.assign(later, { viewer, overview });
}

const begin = () => complete().catch(() => offline("A part of this page did not arrive. Reload it: the form keeps what it says."));

make.begin();
enter();
if (document.readyState === "complete") begin();
else addEventListener("load", begin, { once: true });
