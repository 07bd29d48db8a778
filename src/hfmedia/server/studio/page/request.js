// A wish: what the form says, as the API takes it, and a Trouble for what cannot be meant; and how a job that was made becomes
// a wish again.

import { Trouble } from "./api.js";
import { number, shortModel } from "./format.js";

export const RATIOS = ["1:1", "4:3", "3:2", "16:9", "21:9", "3:4", "2:3", "9:16"];
const NUMBERS = ["width", "height", "num_inference_steps", "guidance_scale", "num_frames", "seconds", "fps"];
const KNOWN = new Set([...NUMBERS, "seed", "aspect_ratio", "resolution", "negative_prompt", "scheduler"]);
const LARGEST = 2n ** 64n - 1n;

export const taskOf = (kind, picture) => `${picture ? "image" : "text"}-to-${kind}`;

/** What a field says; a Trouble in the words of its label. */
export function checked(input) {
  const decimal = input.dataset.max !== undefined;
  const text = decimal ? input.value.trim().replace(",", ".") : input.value.trim(); // many write 2,5: a number field would read 25
  const wrong = text === "" && !input.validity.badInput ? null : decimal ? wrongDecimal(text, input.dataset) : input.name === "seed" ? wrongSeed(text) : wrongNumber(input);
  if (wrong) throw new Trouble(400, { code: "invalid_value", param: input.id, message: `“${input.labels[0].textContent}” ${wrong}.` });
  return text;
}

const range = (low, high) => `is from ${number(low)} to ${number(high)}`;
const wrongSeed = (text) => (/^\d{1,20}$/.test(text) && BigInt(text) <= LARGEST ? null : `is a whole number from 0 to ${LARGEST}`);

function wrongDecimal(text, { min, max }) {
  if (!/^-?(\d+\.?\d*|\.\d+)$/.test(text)) return "is no number";
  return Number(text) < Number(min) || Number(text) > Number(max) ? range(min, max) : null;
}

function wrongNumber({ validity, min, max }) {
  if (validity.badInput) return "is no number";
  if (validity.stepMismatch) return "is a whole number";
  return validity.rangeUnderflow || validity.rangeOverflow ? range(min, max) : null;
}

/** The text of a JSON object, read. */
export function object(text) {
  try {
    const read = JSON.parse(text);
    if (read && typeof read === "object" && !Array.isArray(read)) return read;
  } catch {
    // told below: it is the same for every way to be no object
  }
  throw new Trouble(400, { code: "invalid_value", param: "extra", message: 'The further parameters are no JSON object, such as {"strength": 0.7}.' });
}

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
