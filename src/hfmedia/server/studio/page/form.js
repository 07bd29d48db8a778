// The form that submits requests. It offers only what the chosen model and provider accept, and previews the routing.

import { ApiError, lazyModule } from "./api.js";
import { all, debounce, el, find, focusableIfScrollable, setText } from "./dom.js";
import { explainError } from "./error-messages.js";
import { field, form, hasOption, invalidValue, isHidden, randomSeed, readDraft, readFields, renderAspectRatios, renderParameterFields, resetFields, showFields, taskFor, writeDraft, writeFields } from "./form-fields.js";
import { formatNumber, plural, shortModelName } from "./format.js";
import { currentImage, onImageChange, previewImage, setImage } from "./input-image.js";
import { announce, toast } from "./notifications.js";
import { session } from "./storage.js";

const loadSubmit = lazyModule("submit");
const loadModelPicker = lazyModule("model-picker");
const loadPreview = lazyModule("preview");
const PLACEHOLDERS = { "text-to-image": "A red fox in fresh snow, soft morning light", "text-to-video": "Waves rolling onto a quiet beach at dawn" };
const DRAFT_DELAY = 300; // milliseconds after the last change
const errorBox = find("#form-error");
const models = session.read("models", {}) ?? {}; // the chosen model of each task
let imageMissing = false; // whether the request needs an input image that only the user can add again
let shownError = null;
let knownJobIds = () => [];
let onSubmitted = () => {};
let modelInfo = null; // of the chosen model
let modelTurn = 0; // grows with each choice: the response to an earlier one is ignored
let modelLoaded = Promise.resolve();
let previewTurn = 0; // grows with each preview and submission: a late result of an earlier one is ignored

const kind = () => field("kind").value;
const task = () => taskFor(kind(), currentImage() || imageMissing);
const model = () => models[task()] ?? "";
const taskName = () => task().replaceAll("-", " ");
const providersOfTask = () => modelInfo?.capabilities[task()] ?? {};

/** The request in the form; an ApiError for an invalid field. */
const readRequest = () => ({ ...readFields(), task: task(), model: model() });

// -- what the form offers ---------------------------------------------------------------------------------------------

/** The parameters that the chosen provider, or any provider of the model, accepts; null if unknown. */
function supportedParameters() {
  const provider = field("provider").value;
  const candidates = Object.entries(providersOfTask()).filter(([name, accepted]) => accepted && (!provider || name === provider));
  return candidates.length ? new Set(candidates.flatMap(([, accepted]) => [...accepted])) : null;
}

function updateFields() {
  showFields(task(), supportedParameters());
  const n = field("n").validity.valid ? Number(field("n").value) || 1 : 1;
  setText(find("#generate-label"), `Generate ${n > 1 ? plural(n, kind()) : kind()}`);
  find("#image-optional").hidden = imageMissing;
  find("#image-required").hidden = !imageMissing;
  find("#skip-image").hidden = !imageMissing;
  field("prompt").placeholder = PLACEHOLDERS[task()] ?? "What to change, or how it should move";
}

function updateProviders() {
  const select = field("provider");
  const selected = select.value;
  const names = Object.keys(providersOfTask());
  if (model() && !modelInfo && selected) names.push(selected); // the providers are not known right now
  select.replaceChildren(el("option", { value: "", text: model() ? "Automatic" : "Automatic (choose a model first)" }), ...names.map((name) => el("option", { value: name, text: name })));
  select.value = names.includes(selected) ? selected : "";
  select.disabled = names.length === 0;
}

/** Loads what the chosen model accepts; `modelLoaded` resolves once the form shows it. */
function loadModel() {
  modelLoaded = loadModelInfo();
  return modelLoaded;
}

async function loadModelInfo() {
  const id = model();
  setText(find("#model-name"), id || "Automatic");
  setText(find("#model-summary"), id ? "" : "default");
  const turn = ++modelTurn;
  const result = id ? await loadModelPicker().then(({ getModel }) => getModel(id)).catch((error) => error) : null;
  if (turn !== modelTurn) return;
  modelInfo = result instanceof Error ? null : result;
  if (result instanceof Error) showError(result);
  const count = Object.keys(providersOfTask()).length;
  if (id) setText(find("#model-summary"), count ? `${plural(count, "provider")} for ${taskName()}` : `no provider for ${taskName()} right now`);
  updateProviders();
  updateFields();
  updatePreview();
}

function updatePreview() {
  const turn = ++previewTurn;
  let request = null;
  try {
    request = imageMissing && !currentImage() ? null : readRequest(); // the form says that the image is missing
  } catch {
    // incomplete input; the error is shown on submit, and until then there is no preview
  }
  const onResult = (error, defaultModel) => {
    if (turn !== previewTurn) return;
    if (defaultModel && !request.model) setText(find("#model-summary"), `${shortModelName(defaultModel)} (default)`);
    if (error) showError(error, false);
    else clearError();
  };
  loadPreview().then((preview) => preview.updatePreview(request, previewImage(), onResult), () => {}); // submitting reports that the gateway is gone
}

// -- draft ------------------------------------------------------------------------------------------------------------

const draft = () => ({ ...readDraft(), image: currentImage() !== null || imageMissing });

function saveDraftNow() {
  session.write("draft", draft());
  session.write("models", models);
}

const saveDraft = debounce(saveDraftNow, DRAFT_DELAY);

function restoreDraft() {
  const saved = session.read("draft");
  if (!saved) return;
  imageMissing = saved.image === true;
  if (saved.image) toast("Images are not kept when the page is reloaded. Add yours again, or continue without one.");
  writeDraft(saved);
}

/** Returns a function that restores the current content of the form. */
function snapshot() {
  const [savedDraft, savedImage, savedModels, savedImageMissing] = [draft(), currentImage(), { ...models }, imageMissing];
  return async () => {
    await setImage(savedImage);
    imageMissing = savedImageMissing;
    Object.assign(models, savedModels);
    writeDraft(savedDraft);
    await loadModel();
    saveDraft();
    focusForm();
  };
}

function onInput() {
  updateFields();
  updatePreview();
  saveDraft();
}

// -- errors -----------------------------------------------------------------------------------------------------------

function clearError() {
  shownError = null;
  errorBox.hidden = true;
  errorBox.replaceChildren();
  for (const input of all("[aria-invalid]", form)) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-errormessage");
  }
}

/** Shows an error and marks its field; `focus` moves the focus there as well. */
function showError(error, focus = true) {
  clearError();
  shownError = error;
  const { summary, message, hint } = explainError(error);
  errorBox.replaceChildren(el("strong", { text: `${summary} ` }), el("span", { text: `${message} ${hint}`.trim() }));
  errorBox.hidden = false;
  focusableIfScrollable(errorBox);
  const input = document.getElementById(error.param ?? "");
  if (!input || !form.contains(input) || isHidden(input)) return;
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-errormessage", "form-error");
  if (input.closest("details")) input.closest("details").open = true;
  if (!focus) return;
  input.focus();
  input.scrollIntoView({ block: "nearest" }); // the error may now cover a field that had the focus already
}

/** Clears the error that the gateway did not respond, once it does. */
export const clearConnectionError = () => shownError?.status === 0 && clearError();

// -- submitting -------------------------------------------------------------------------------------------------------

/** Submits a request. */
export async function send(request, image = null) {
  const { submitJobs } = await loadSubmit();
  const submission = await submitJobs(request, image, knownJobIds());
  if (!submission) return;
  onSubmitted(submission.jobs);
  if (request.model) loadModelPicker().then(({ rememberModel }) => rememberModel(request.task, request.model), () => {}); // not essential
  const count = submission.jobs.length;
  if (submission.duplicate) toast("The first attempt had arrived, so nothing was submitted twice. Submit again to get another one.");
  else announce(count === 1 ? "Job created." : `${formatNumber(count)} jobs created.`);
}

let submitting = false;

async function submit() {
  if (submitting) return;
  clearError();
  submitting = true;
  form.setAttribute("aria-busy", "true");
  setText(find("#generate-label"), "Submitting…");
  try {
    await modelLoaded;
    previewTurn += 1;
    const request = readRequest();
    if (!request.prompt && !currentImage()) throw invalidValue("prompt", "The prompt is empty.");
    if (imageMissing && !currentImage()) throw invalidValue("image-file", "The input image is missing: add it, or continue without an image.");
    await send(request, currentImage());
  } catch (error) {
    showError(error instanceof ApiError ? error : new ApiError(0, { message: error.message }));
  } finally {
    submitting = false;
    form.removeAttribute("aria-busy");
    updateFields();
  }
}

/** Fills the form with a request. Returns what the form cannot represent, and `undo` if it replaced another prompt. */
export async function fill(request) {
  const prompt = field("prompt").value.trim();
  const undo = prompt && prompt !== (request.prompt ?? "").trim() ? snapshot() : null;
  resetFields();
  const unsupported = writeFields(request);
  if (request.task.startsWith("text")) await setImage(null);
  imageMissing = request.task.startsWith("image") && !currentImage();
  models[request.task] = request.model;
  await loadModel();
  if (hasOption("#provider", request.provider)) field("provider").value = request.provider;
  else if (request.provider) unsupported.push(`provider ${request.provider}`);
  onInput();
  focusForm();
  return { unsupported, undo };
}

/** Focuses the prompt and scrolls it into view. */
export function focusForm() {
  field("prompt").focus();
  field("prompt").scrollIntoView({ block: "center" });
}

/** Whether the request in the form needs an input image that only the user can add again. */
export const needsImage = () => imageMissing;

function reset() {
  imageMissing = false;
  resetFields();
  loadModel();
  saveDraft();
  announce("Reset to automatic, except for the model.");
}

function skipImage() {
  imageMissing = false;
  loadModel();
  saveDraft();
  field("prompt").focus();
}

async function chooseModel() {
  const id = await loadModelPicker().then(({ pickModel }) => pickModel(task(), model())).catch((error) => {
    showError(error);
    return null;
  });
  find("#pick-model").focus();
  if (id === null) return;
  models[task()] = id;
  clearError();
  await loadModel();
  saveDraft();
}

/** Loads the modules that the form uses; a module that fails now is requested again when it is needed. */
export const preload = () => Promise.allSettled([loadSubmit(), loadModelPicker(), loadPreview()]);

function addKeyboardListeners() {
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("input") && !event.isComposing) event.preventDefault(); // Enter confirms a value; it does not submit
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || document.querySelector("dialog[open]") || event.target.closest?.("#gallery input")) return;
    event.preventDefault();
    if (!event.repeat) submit(); // a held key is one press
  });
}

/** Initializes the form. `knownJobIds()`: of the jobs on the page; `onSubmitted(jobs)` gets those of a submission. */
export function init(callbacks) {
  ({ knownJobIds, onSubmitted } = callbacks);
  renderAspectRatios();
  renderParameterFields();
  restoreDraft();
  onImageChange(() => {
    imageMissing = false;
    loadModel();
  });
  form.addEventListener("input", (event) => {
    if (event.target.getAttribute("aria-invalid") === "true") clearError();
    onInput();
  });
  form.addEventListener("change", (event) => (event.target.name === "kind" ? loadModel() : onInput()));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  addKeyboardListeners();
  addEventListener("pagehide", saveDraftNow);
  find("#advanced").addEventListener("toggle", saveDraft);
  find("#advanced summary").addEventListener("click", () => setTimeout(() => find("#advanced").open && find("#advanced .details-body").scrollIntoView({ block: "nearest" })));
  find("#skip-image").addEventListener("click", skipImage);
  find("#random-seed").addEventListener("click", () => {
    field("seed").value = randomSeed();
    onInput();
    announce(`Seed ${field("seed").value}.`);
  });
  find("#reset").addEventListener("click", reset);
  find("#pick-model").addEventListener("click", chooseModel);
  loadModel();
}
