// Jobs as requests that create them again, and the titles of jobs.

import { PARAMETERS } from "./api.js";
import { MAX_SEED, randomSeed } from "./form-fields.js";
import { shortModelName } from "./format.js";

const PARAMETER_NAMES = new Set(PARAMETERS.map(({ name }) => name));
const MAX_TITLE_CHARS = 90;

/** The seed of a job, or the requested one if its provider accepts none. */
const seedOf = (job) => job.seed ?? job.requestedParameters.seed ?? null;

/** The request of a job, as it was made. Parameters that the gateway does not know by name go into `extra`. */
export function fromJob(job) {
  const parameters = Object.entries(job.requestedParameters);
  const extra = Object.fromEntries(parameters.filter(([name]) => !PARAMETER_NAMES.has(name)));
  const known = Object.fromEntries(parameters.filter(([name]) => PARAMETER_NAMES.has(name)));
  return {
    prompt: job.prompt, task: job.task, model: job.model, provider: job.requestedProvider, ...known, seed: seedOf(job),
    extra: Object.keys(extra).length ? extra : null,
  };
}

/** The next seed that no other job of the same request has; seeds may exceed JavaScript's safe integers. */
export function nextSeed(job, others) {
  const seed = seedOf(job);
  if (seed === null) return randomSeed();
  const isSimilar = (other) => other.prompt === job.prompt && other.model === job.model && other.task === job.task;
  const used = new Set([...others].filter(isSimilar).map((other) => String(seedOf(other))));
  let next = BigInt(seed);
  do next = next === MAX_SEED ? 0n : next + 1n; while (used.has(String(next)));
  return String(next);
}

/** A text of at most `max` characters; no character is split. */
export function truncate(text, max) {
  const characters = [...text];
  return characters.length > max ? `${characters.slice(0, max - 1).join("")}…` : text;
}

/** The title of a job: its prompt in one line. */
export function titleOf(job) {
  const text = (job.prompt ?? "").replace(/\s+/g, " ").trim() || `${job.task} with ${shortModelName(job.model)}`;
  return truncate(text, MAX_TITLE_CHARS);
}
