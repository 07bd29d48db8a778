// The fields of the form: validates and reads them as parameters of a request, and writes a request or a draft into them.

import { ApiError } from "./api.js";
import { all, el, find } from "./dom.js";
import { formatNumber } from "./format.js";

const ASPECT_RATIOS = ["1:1", "4:3", "3:2", "16:9", "21:9", "3:4", "2:3", "9:16"];
const TEXT_FIELDS = ["negative_prompt", "scheduler", "seed"];
const NUMBER_FIELDS = ["n", "seconds", "num_inference_steps", "guidance_scale", "num_frames", "fps"];
const DRAFT_FIELDS = ["prompt", "provider", "width", "height", "extra", "kind", "ratio", ...TEXT_FIELDS, ...NUMBER_FIELDS];
const SEED_LIMIT = 1_000_000_000; // random seeds stay below it: every provider accepts nine digits
export const MAX_SEED = 2n ** 64n - 1n;
export const form = find("#request-form");

export const field = (name) => form.elements[name];
export const isHidden = (input) => input.closest("[hidden]:not(dialog)") !== null;
export const hasOption = (select, value) => [...find(select).options].some((option) => option.value === value);
export const taskFor = (kind, hasImage) => `${hasImage ? "image" : "text"}-to-${kind}`;
export const randomSeed = () => String(crypto.getRandomValues(new Uint32Array(1))[0] % SEED_LIMIT);
export const invalidValue = (param, message) => new ApiError(400, { code: "invalid_value", param, message });

// -- validation -------------------------------------------------------------------------------------------------------

/** The value of a field as text; an ApiError that names its label if it is invalid. */
function readField(input) {
  const decimal = input.dataset.max !== undefined;
  const text = decimal ? input.value.trim().replace(",", ".") : input.value.trim(); // many write 2,5: a number field would read 25
  const problem = text === "" && !input.validity.badInput ? null : decimal ? decimalProblem(text, input.dataset) : input.name === "seed" ? seedProblem(text) : numberProblem(input);
  if (problem) throw invalidValue(input.id, `“${input.labels[0].textContent}” ${problem}.`);
  return text;
}

const rangeProblem = (min, max) => `must be from ${formatNumber(min)} to ${formatNumber(max)}`;
const seedProblem = (text) => (/^\d{1,20}$/.test(text) && BigInt(text) <= MAX_SEED ? null : `must be a whole number from 0 to ${MAX_SEED}`);

function decimalProblem(text, { min, max }) {
  if (!/^-?(\d+\.?\d*|\.\d+)$/.test(text)) return "must be a number";
  return Number(text) < Number(min) || Number(text) > Number(max) ? rangeProblem(min, max) : null;
}

function numberProblem({ validity, min, max }) {
  if (validity.badInput) return "must be a number";
  if (validity.stepMismatch) return "must be a whole number";
  return validity.rangeUnderflow || validity.rangeOverflow ? rangeProblem(min, max) : null;
}

/** Checks that a text is a JSON object, and returns it as it was typed: JavaScript's numbers hold fewer digits. */
function validJsonObject(text) {
  try {
    const value = JSON.parse(text);
    if (value && typeof value === "object" && !Array.isArray(value)) return text;
  } catch {
    // the same error below for everything that is not a JSON object
  }
  throw invalidValue("extra", 'The extra parameters must be a JSON object, such as {"strength": 0.7}.');
}

// -- requests ---------------------------------------------------------------------------------------------------------

/** The parameters of the request in the visible fields; an ApiError for an invalid one. */
export function readFields() {
  const parameters = { prompt: field("prompt").value.trim(), provider: field("provider").value };
  for (const name of [...TEXT_FIELDS, ...NUMBER_FIELDS]) {
    const input = field(name);
    if (isHidden(input)) continue;
    const text = readField(input);
    if (text !== "") parameters[name] = TEXT_FIELDS.includes(name) ? text : Number(text);
  }
  if (!find("#ratio-field").hidden) Object.assign(parameters, readSize());
  const extra = field("extra").value.trim();
  if (extra) parameters.extra = validJsonObject(extra);
  return parameters;
}

function readSize() {
  const size = find("#size").value;
  if (size !== "exact") return { aspect_ratio: field("ratio").value, resolution: size };
  const [width, height] = ["width", "height"].map((name) => readField(field(name)));
  return { width: width === "" ? null : Number(width), height: height === "" ? null : Number(height) };
}

/** Writes a request into the fields, but for its provider; returns what the fields cannot represent. */
export function writeFields(request) {
  const unsupported = [];
  field("kind").value = request.task.endsWith("video") ? "video" : "image";
  field("prompt").value = request.prompt ?? "";
  for (const name of [...TEXT_FIELDS, ...NUMBER_FIELDS]) if (request[name] !== undefined && request[name] !== null) field(name).value = request[name];
  if (request.width || request.height) {
    find("#size").value = "exact";
    field("width").value = request.width ?? "";
    field("height").value = request.height ?? "";
  } else {
    if (ASPECT_RATIOS.includes(request.aspect_ratio)) field("ratio").value = request.aspect_ratio;
    else if (request.aspect_ratio) unsupported.push(`aspect ratio ${request.aspect_ratio}`);
    if (hasOption("#size", request.resolution)) find("#size").value = request.resolution;
    else if (request.resolution) unsupported.push(`size ${request.resolution}`);
  }
  if (request.extra) field("extra").value = JSON.stringify(request.extra);
  return unsupported;
}

/** Resets every field to automatic, but for the prompt. */
export function resetFields() {
  for (const name of [...TEXT_FIELDS, ...NUMBER_FIELDS, "width", "height", "extra"]) field(name).value = name === "n" ? "1" : "";
  field("provider").value = "";
  field("ratio").value = "";
  find("#size").value = "";
}

// -- drafts -----------------------------------------------------------------------------------------------------------

/** The fields as typed, valid or not. */
export function readDraft() {
  const draft = Object.fromEntries(DRAFT_FIELDS.map((name) => [name, field(name)?.value]));
  return { ...draft, size: find("#size").value, advanced: find("#advanced").open };
}

export function writeDraft(draft) {
  if (draft.provider) field("provider").append(el("option", { value: draft.provider, text: draft.provider }));
  for (const name of DRAFT_FIELDS) if (typeof draft[name] === "string" && field(name)) field(name).value = draft[name];
  find("#size").value = draft.size ?? "";
  find("#advanced").open = draft.advanced === true;
}

// -- visibility -------------------------------------------------------------------------------------------------------

/** Shows the fields of a kind of output, of these only those that are `supported`: null shows all. */
export function showFields(kind, supported) {
  for (const part of all("[data-parameter], [data-kind]", form)) {
    const { parameter, kind: onlyKind } = part.dataset;
    part.hidden = Boolean((onlyKind && onlyKind !== kind) || (parameter && supported && !supported.has(parameter)));
  }
  const exact = find("#size").value === "exact";
  find("#exact-size").hidden = !exact;
  find("#ratios").classList.toggle("disabled", exact);
  for (const input of all("#ratios input")) input.disabled = exact;
}

export function renderAspectRatios() {
  find("#ratios").append(...["", ...ASPECT_RATIOS].map((name) => {
    const box = el("span", { class: "ratio-box", "data-ratio": name || "auto", "aria-hidden": "true" });
    return el("label", {}, el("input", { type: "radio", name: "ratio", value: name, checked: name === "" }), box, el("span", { text: name || "Auto" }));
  }));
}
