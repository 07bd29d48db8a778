// A wish: what the form says, as the API takes it; and how a job that was made becomes a wish again.

import { shortModel } from "./words.js";

export const RATIOS = ["1:1", "4:3", "3:2", "16:9", "21:9", "3:4", "2:3", "9:16"];
const NUMBERS = ["width", "height", "num_inference_steps", "guidance_scale", "num_frames", "seconds", "fps"];
const KNOWN = new Set([...NUMBERS, "seed", "aspect_ratio", "resolution", "negative_prompt", "scheduler"]);
export const LARGEST = 2n ** 64n - 1n;

export const taskOf = (kind, picture) => `${picture ? "image" : "text"}-to-${kind}`;

/** A wish as a request of POST /v1/jobs: a form where there is an image, and JSON otherwise. */
export function asBody(wish, picture) {
  const given = Object.entries(wish).filter(([, value]) => value !== null && value !== undefined && value !== "");
  if (!picture) return { json: Object.fromEntries(given) };
  const form = new FormData();
  for (const [name, value] of given) form.append(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  form.append("image", picture, picture.name || "image");
  return { form };
}

/** The seed that a job was made with, or was asked to be where its provider takes none. */
const seedOf = (job) => job.seed ?? job.asked.seed ?? null;

/** A job as the wish that makes it again, as it was asked for. What no field is for goes into `extra`. */
export function ofJob(job) {
  const told = Object.entries(job.asked);
  const extra = Object.fromEntries(told.filter(([name]) => !KNOWN.has(name)));
  const wish = Object.fromEntries(told.filter(([name]) => KNOWN.has(name)));
  return {
    prompt: job.prompt, task: job.task, model: job.model, provider: job.choice.split(":")[1] ?? "", ...wish, seed: seedOf(job),
    extra: Object.keys(extra).length ? extra : null,
  };
}

/** A seed drawn at random: nine digits, which every provider takes. */
export const rolled = () => String(crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000_000);

/** The next seed that none of these made the same wish with; seeds may have more digits than a number holds. */
export function nextSeed(job, others) {
  const seed = seedOf(job);
  if (seed === null) return rolled();
  const alike = (one) => one.prompt === job.prompt && one.model === job.model && one.task === job.task;
  const taken = new Set([...others].filter(alike).map((one) => String(seedOf(one))));
  let next = BigInt(seed);
  do next = next === LARGEST ? 0n : next + 1n; while (taken.has(String(next)));
  return String(next);
}

/** Words of so many letters at most; no letter is cut in two. */
export function cut(words, most) {
  const letters = [...words];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : words;
}

/** What a wish is called in one line, cut short. */
export function titleOf(job) {
  const words = (job.prompt ?? "").replace(/\s+/g, " ").trim() || `${job.task} with ${shortModel(job.model)}`;
  return cut(words, 90);
}
