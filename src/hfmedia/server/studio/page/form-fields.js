// The fields of the form: renders those of the generation parameters, reads all of them as a request, and writes them.

import { ApiError, PARAMETERS } from "./api.js";
import { all, el, find } from "./dom.js";
import { formatNumber } from "./format.js";

const ASPECT_RATIOS = ["1:1", "4:3", "3:2", "16:9", "21:9", "3:4", "2:3", "9:16"];
const LABELS = { num_inference_steps: "Steps", guidance_scale: "Guidance", num_frames: "Frames", fps: "Frames per second" }; // others are named after the parameter
const FIELDS_PER_ROW = 3;
const isNumber = ({ name, minimum }) => minimum !== null && name !== "seed"; // seeds may exceed JavaScript's safe integers
const OWN_FIELDS = PARAMETERS.filter(({ group }) => group !== "size"); // sizes have controls of their own
const TEXT_FIELDS = OWN_FIELDS.filter((parameter) => !isNumber(parameter)).map(({ name }) => name);
const NUMBER_FIELDS = ["n", ...OWN_FIELDS.filter(isNumber).map(({ name }) => name)];
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
  throw invalidValue("extra", 'The extra parameters must be a JSON object, such as {"enable_safety_checker": true}.');
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

/** Shows the fields of a task, of these only those that are `supported`: null shows all. */
export function showFields(task, supported) {
  const [from, kind] = task.split("-to-");
  for (const part of all("[data-parameter], [data-kind]", form)) {
    const { parameter, kind: onlyKind, needsImage } = part.dataset;
    part.hidden = Boolean((onlyKind && onlyKind !== kind) || (needsImage && from !== "image") || (parameter && supported && !supported.has(parameter)));
  }
  const exact = find("#size").value === "exact";
  find("#exact-size").hidden = !exact;
  find("#ratios").classList.toggle("disabled", exact);
  for (const input of all("#ratios input")) input.disabled = exact;
}

// -- rendering --------------------------------------------------------------------------------------------------------

const labelOf = ({ name }) => LABELS[name] ?? name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");

/** The input of a parameter: a text area, a list of choices, or a line for text or a number. */
function createInput({ name, kind, minimum, maximum, choices, multiline, help }) {
  const common = { id: name, name, title: help };
  if (choices.length) return el("select", common, el("option", { value: "", text: "Auto" }), ...choices.filter((choice) => choice !== "auto").map((choice) => el("option", { value: choice, text: choice })));
  if (multiline) return el("textarea", { ...common, dir: "auto", rows: 2, maxlength: 32000, placeholder: "blurry, text" });
  if (kind === "integer") return el("input", { ...common, type: "number", inputmode: "numeric", min: minimum, max: maximum, placeholder: "Auto" });
  const range = kind === "number" ? { inputmode: "decimal", maxlength: 12, "data-min": minimum, "data-max": maximum } : {};
  return el("input", { ...common, type: "text", autocomplete: "off", placeholder: "Auto", ...range });
}

function createField(parameter) {
  const { name, videoOnly, needsImage } = parameter;
  const conditions = { "data-parameter": name, ...(videoOnly && { "data-kind": "video" }), ...(needsImage && { "data-needs-image": "true" }) };
  return el("div", { class: "field", ...conditions }, el("label", { for: name, text: labelOf(parameter) }), createInput(parameter));
}

/** Adds a field for each parameter that has none yet. */
export function renderParameterFields() {
  const missing = OWN_FIELDS.filter(({ name }) => !field(name));
  const area = find("#parameter-fields");
  area.replaceWith(...missing.filter(({ multiline }) => multiline).map(createField), ...fieldRows(missing.filter(({ multiline, videoOnly }) => !multiline && !videoOnly)), ...fieldRows(missing.filter(({ multiline, videoOnly }) => !multiline && videoOnly)));
}

function fieldRows(parameters) {
  const rows = [];
  for (let k = 0; k < parameters.length; k += FIELDS_PER_ROW) rows.push(el("div", { class: "row" }, ...parameters.slice(k, k + FIELDS_PER_ROW).map(createField)));
  return rows;
}

export function renderAspectRatios() {
  find("#ratios").append(...["", ...ASPECT_RATIOS].map((name) => {
    const box = el("span", { class: "ratio-box", "data-ratio": name || "auto", "aria-hidden": "true" });
    return el("label", {}, el("input", { type: "radio", name: "ratio", value: name, checked: name === "" }), box, el("span", { text: name || "Auto" }));
  }));
}
