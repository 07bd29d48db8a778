// The actions on jobs that cards and the lightbox offer. A failed action shows why, and changes nothing.

import { api } from "./api.js";
import { find } from "./dom.js";
import { errorText } from "./error-messages.js";
import { fill, focusForm, needsImage, send } from "./form.js";
import { setImageFromUrl } from "./input-image.js";
import { jobs, upsert } from "./job-store.js";
import { toast } from "./notifications.js";
import { fromJob, nextSeed, titleOf, truncate } from "./request.js";
import { session } from "./storage.js";

const FILE_NAME_CHARS = 40;
const STORAGE_KEY = "pending-variations"; // job id -> seed of a variation whose submission is not confirmed

const reportingErrors = (action) => async (...args) => {
  try {
    await action(...args);
  } catch (error) {
    toast(errorText(error), { error: true });
  }
};

/** Submits the request of a job again. One with an input image goes into the form instead: the image is not kept. */
async function repeat(job, changes = {}) {
  const request = { ...fromJob(job), ...changes };
  if (job.task.startsWith("text")) await send(request);
  else await edit(request);
}

/** Fills the form with a request. Its input image is not kept: only the user can add it again. */
async function edit(request) {
  const { unsupported, undo } = await fill(request);
  const parts = [
    (undo || needsImage()) && "Request loaded into the form.",
    needsImage() && "Add its input image, then submit it.",
    unsupported.length > 0 && `The form does not support ${unsupported.join(", ")}: check the request before you submit it.`,
  ].filter(Boolean);
  if (parts.length) toast(parts.join(" "), { action: undo });
}

/** Submits the request of a job with the next seed; with the same seed again until the submission is confirmed. */
async function vary(job) {
  const pending = () => session.read(STORAGE_KEY, {}) ?? {};
  const seed = pending()[job.id] ?? nextSeed(job, jobs.values());
  session.write(STORAGE_KEY, { ...pending(), [job.id]: seed });
  await repeat(job, { seed });
  const { [job.id]: _, ...others } = pending();
  session.write(STORAGE_KEY, others);
}

async function useAsInput(job, media) {
  await setImageFromUrl(media.url, `${truncate(titleOf(job), FILE_NAME_CHARS)}.${media.mime.split("/").pop()}`);
  focusForm();
}

function usePrompt(text) {
  find("#prompt").value = text;
  find("#prompt").dispatchEvent(new Event("input", { bubbles: true }));
  find("#prompt").focus();
}

/** All actions; `open(id)` and `remove(job)` are those of the lightbox and the gallery. */
export const createActions = ({ open, remove }) => ({
  open,
  remove,
  cancel: reportingErrors(async (job) => upsert(await api.cancel(job.id))),
  resend: reportingErrors(async (job) => upsert(await api.resend(job.id))),
  dismiss: reportingErrors(async (job) => upsert(await api.dismiss(job.id))),
  restore: reportingErrors(async (job) => upsert(await api.restore(job.id))),
  repeat: reportingErrors((job) => repeat(job)),
  edit: reportingErrors((job) => edit(fromJob(job))),
  vary: reportingErrors(vary),
  useAsInput: reportingErrors(useAsInput),
  usePrompt,
});
