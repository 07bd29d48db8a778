// The form that makes things. It offers only what the chosen model and provider take, and tells what it will do.

import { part, Trouble } from "./api.js";
import { all, el, find, reachable, retext, settled } from "./dom.js";
import { tab } from "./storage.js";
import { currentPicture, onPicture, standIn, take } from "./input-image.js";
import { notice, say } from "./notifications.js";
import { put } from "./job-store.js";
import { RATIOS, checked, object, rolled, taskOf } from "./request.js";
import { explained, number, plural, shortModel } from "./format.js";

const buying = part("submit");
const choosing = part("model-picker");
const planning = part("preview");
const form = find("#make");
const field = (name) => form.elements[name];
const TEXTS = ["negative_prompt", "scheduler", "seed"];
const NUMBERS = ["n", "seconds", "num_inference_steps", "guidance_scale", "num_frames", "fps"];
const KEPT = ["prompt", "provider", "width", "height", "extra", "kind", "ratio", ...TEXTS, ...NUMBERS];
const trouble = find("#trouble");
const models = tab.read("models", {}) ?? {}; // the chosen model of each task
let awaited = false; // whether the wish in the form begins with an image that is not here
let shownTrouble = null;
let present = () => {}; // brings what was begun into sight
let facts = null; // of the chosen model
let asked = 0;
let learning = Promise.resolve();
let question = 0; // grows with each plan and each sending: a late verdict on an earlier one is left

const kind = () => field("kind").value;
const task = () => taskOf(kind(), currentPicture() || awaited);
const model = () => models[task()] ?? "";

/** What the form says, as the API takes it; a Trouble for what cannot be read. */
function wish() {
  const told = { prompt: field("prompt").value.trim(), task: task(), model: model(), provider: field("provider").value };
  for (const name of [...TEXTS, ...NUMBERS]) {
    const input = field(name);
    if (hiddenAway(input)) continue;
    const text = checked(input);
    if (text !== "") told[name] = TEXTS.includes(name) ? text : Number(text);
  }
  if (!find("#ratio-field").hidden) Object.assign(told, sizeOf());
  const extra = field("extra").value.trim();
  if (extra) told.extra = object(extra) && extra; // as it was written: numbers here hold fewer digits
  return told;
}

function sizeOf() {
  const size = find("#size").value;
  if (size === "exact") {
    const [width, height] = ["width", "height"].map((name) => checked(field(name)));
    return { width: width === "" ? null : Number(width), height: height === "" ? null : Number(height) };
  }
  return { aspect_ratio: field("ratio").value, resolution: size };
}

const hiddenAway = (input) => input.closest("[hidden]:not(dialog)") !== null;

// -- what is offered --------------------------------------------------------------------------------------------------

/** What the providers in question take; null while nobody knows: then everything is offered. */
function takes() {
  const served = facts?.abilities?.[task()];
  if (!served) return null;
  const wanted = field("provider").value;
  const able = Object.entries(served).filter(([name, told]) => told && (!wanted || name === wanted)).map(([, told]) => told);
  if (!able.length) return null;
  const found = new Set(able.flatMap((told) => told.takes));
  if (able.some((told) => told.size.form !== "none")) found.add("size");
  return found;
}

function offer() {
  const known = takes();
  for (const part of all("[data-takes], [data-kind]", form)) {
    const { takes: needs, kind: of } = part.dataset;
    part.hidden = Boolean((of && of !== kind()) || (needs && known && !known.has(needs)));
  }
  const exact = find("#size").value === "exact";
  find("#exact").hidden = !exact;
  find("#ratios").classList.toggle("unused", exact);
  for (const input of all("#ratios input")) input.disabled = exact;
  const n = field("n").validity.valid ? Number(field("n").value) || 1 : 1;
  retext(find("#go-words"), `Make ${n > 1 ? plural(n, kind()) : kind()}`);
  find("#may-begin").hidden = awaited;
  find("#must-begin").hidden = !awaited;
  find("#without").hidden = !awaited;
  field("prompt").placeholder = { "text-to-image": "A red fox in fresh snow, soft morning light", "text-to-video": "Waves rolling onto a quiet beach at dawn" }[task()] ?? "What to change, or how it should move";
}

function providers() {
  const select = field("provider");
  const before = select.value;
  const named = Object.keys(facts?.abilities?.[task()] ?? {});
  if (model() && !facts && before) named.push(before); // nobody knows better now
  select.replaceChildren(el("option", { value: "", text: model() ? "Automatic" : "Automatic (choose a model first)" }), ...named.map((name) => el("option", { value: name, text: name })));
  select.value = named.includes(before) ? before : "";
  select.disabled = named.length === 0;
}

/** Learns what the chosen model takes; `learning` is done once the form is true to it. */
function learn() {
  learning = learnNow();
  return learning;
}

async function learnNow() {
  const id = model();
  retext(find("#model-name"), id || "Automatic");
  retext(find("#model-facts"), id ? "" : "the usual one for this");
  const turn = ++asked;
  const found = id ? await choosing().then(({ modelFacts }) => modelFacts(id)).catch((error) => error) : null;
  if (turn !== asked) return;
  facts = found instanceof Error ? null : found;
  if (found instanceof Error) complain(found);
  const count = Object.keys(facts?.abilities?.[task()] ?? {}).length;
  if (id) retext(find("#model-facts"), count ? `${plural(count, "provider")} for ${task().replaceAll("-", " ")}` : `no provider for ${task().replaceAll("-", " ")} now`);
  providers();
  offer();
  plan();
}

function plan() {
  const mine = ++question;
  let told = null;
  try {
    told = awaited && !currentPicture() ? null : wish(); // the form says what is missing
  } catch {
    // half-written; it is told when it is sent, and until then nobody knows what would become of it
  }
  const verdict = (wrong, usual) => {
    if (mine !== question) return;
    if (usual && !told.model) retext(find("#model-facts"), `${shortModel(usual)}, the usual one for this`);
    if (wrong) complain(wrong, false);
    else quiet();
  };
  planning().then(({ foresee }) => foresee(told, standIn(), verdict), () => {}); // nobody answers: that is told when it is sent
}

/** What the form says, as it can be kept. */
function said() {
  const told = Object.fromEntries(KEPT.map((name) => [name, field(name)?.value]));
  return { ...told, size: find("#size").value, more: find("#more").open, picture: currentPicture() !== null || awaited };
}

function keepNow() {
  tab.write("draft", said());
  tab.write("models", models);
}

const keep = settled(keepNow, 300);

function changed() {
  offer();
  plan();
  keep();
}

// -- what goes wrong --------------------------------------------------------------------------------------------------

function quiet() {
  shownTrouble = null;
  trouble.hidden = true;
  trouble.replaceChildren();
  for (const input of all("[aria-invalid]", form)) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-errormessage");
  }
}

/** Tells what is wrong, at the field where it is; `go` there as well. */
function complain(wrong, go = true) {
  quiet();
  shownTrouble = wrong;
  const { what, said, next } = explained(wrong);
  trouble.replaceChildren(el("strong", { text: `${what} ` }), el("span", { text: `${said} ${next}` }));
  trouble.hidden = false;
  reachable(trouble);
  const at = document.getElementById(wrong.param ?? "");
  if (!at || !form.contains(at) || hiddenAway(at)) return;
  at.setAttribute("aria-invalid", "true");
  at.setAttribute("aria-errormessage", "trouble");
  if (at.closest("details")) at.closest("details").open = true;
  if (!go) return;
  at.focus();
  at.scrollIntoView({ block: "nearest" }); // it may have had the focus, and lie behind these words now
}

/** The gateway answers again: that it did not is no longer so. */
export const calm = () => shownTrouble?.status === 0 && quiet();

// -- what is done -----------------------------------------------------------------------------------------------------

/** Sends a wish, and shows what was begun. */
export async function send(told, picture = null) {
  const { order } = await buying();
  const begun = await order(told, picture);
  if (!begun) return;
  for (const job of begun.jobs) put(job);
  present(begun.jobs.filter((job) => job.deleted_at === null));
  if (told.model) choosing().then(({ remember }) => remember(told.task, told.model), () => {}); // a convenience
  const count = begun.jobs.length;
  if (begun.late) notice("It had arrived the first time, so nothing was made twice. Make it once more to get another one.");
  else say(count === 1 ? "Begun." : `${number(count)} begun.`);
}

let sending = false;

async function submit() {
  if (sending) return;
  quiet();
  sending = true;
  form.setAttribute("aria-busy", "true");
  retext(find("#go-words"), "Sending…");
  try {
    await learning;
    question += 1;
    const told = wish();
    if (!told.prompt && !currentPicture()) throw new Trouble(400, { code: "invalid_value", param: "prompt", message: "The prompt is empty: say what to make." });
    if (awaited && !currentPicture()) throw new Trouble(400, { code: "invalid_value", param: "file", message: "This begins with an image that is not here: add it, or go back to automatic under “More control”." });
    await send(told, currentPicture());
  } catch (wrong) {
    complain(wrong instanceof Trouble ? wrong : new Trouble(0, { message: wrong.message }));
  } finally {
    sending = false;
    form.removeAttribute("aria-busy");
    offer();
  }
}

/** Fills the form with a wish, to be changed and sent; the answer names what of it the form has no place for (`lost`), and
 * brings back what was written there before (`back`), where that was something. */
export async function fill(told) {
  const lost = [];
  const written = field("prompt").value.trim();
  const back = written && written !== (told.prompt ?? "").trim() ? remembered() : null;
  reset();
  field("kind").value = told.task.endsWith("video") ? "video" : "image";
  if (told.task.startsWith("text")) await take(null);
  awaited = told.task.startsWith("image") && !currentPicture();
  models[told.task] = told.model;
  field("prompt").value = told.prompt ?? "";
  for (const name of [...TEXTS, ...NUMBERS]) if (told[name] !== undefined && told[name] !== null) field(name).value = told[name];
  if (told.width || told.height) {
    find("#size").value = "exact";
    field("width").value = told.width ?? "";
    field("height").value = told.height ?? "";
  } else {
    if (RATIOS.includes(told.aspect_ratio)) field("ratio").value = told.aspect_ratio;
    else if (told.aspect_ratio) lost.push(`the shape ${told.aspect_ratio}`);
    if (offers("#size", told.resolution)) find("#size").value = told.resolution;
    else if (told.resolution) lost.push(`the size ${told.resolution}`);
  }
  if (told.extra) field("extra").value = JSON.stringify(told.extra);
  await learn();
  if (offers("#provider", told.provider)) field("provider").value = told.provider;
  else if (told.provider) lost.push(`the provider ${told.provider}`);
  changed();
  show();
  return { lost, back };
}

/** What brings the form back to what it says now. */
function remembered() {
  const [draft, picture, chosen, begins] = [said(), currentPicture(), { ...models }, awaited];
  return async () => {
    await take(picture);
    awaited = begins;
    Object.assign(models, chosen);
    writeIn(draft);
    await learn();
    keep();
    show();
  };
}

const offers = (select, value) => [...find(select).options].some((one) => one.value === value);

/** Brings the form into sight, ready to be written in. */
export function show() {
  field("prompt").focus();
  field("prompt").scrollIntoView({ block: "center" });
}

/** Whether the wish in the form begins with an image that only a person can bring. */
export const lacks = () => awaited;

function reset() {
  awaited = false;
  for (const name of [...TEXTS, ...NUMBERS, "width", "height", "extra"]) field(name).value = name === "n" ? "1" : "";
  field("provider").value = "";
  field("ratio").value = "";
  find("#size").value = "";
}

function shapes() {
  const names = ["", ...RATIOS];
  find("#ratios").append(...names.map((name) => {
    const box = el("span", { class: "shape", "data-ratio": name || "any", "aria-hidden": "true" });
    return el("label", {}, el("input", { type: "radio", name: "ratio", value: name, checked: name === "" }), box, el("span", { text: name || "Auto" }));
  }));
}

function restore() {
  const draft = tab.read("draft");
  if (!draft) return;
  awaited = draft.picture === true;
  if (draft.picture) notice("Images are not kept when the page is loaded anew: add yours again, or go on without.");
  writeIn(draft);
}

function writeIn(draft) {
  if (draft.provider) field("provider").append(el("option", { value: draft.provider, text: draft.provider }));
  for (const name of KEPT) if (typeof draft[name] === "string" && field(name)) field(name).value = draft[name];
  find("#size").value = draft.size ?? "";
  find("#more").open = draft.more === true;
}

/** Fetches what the form needs once it is used; what does not come now is asked for again then. */
export const complete = () => Promise.allSettled([buying(), choosing(), planning()]);

/** Makes the form ready. `seen` brings the jobs that were begun into sight. */
export function begin(seen) {
  present = seen;
  shapes();
  restore();
  onPicture(() => {
    awaited = false;
    learn();
  });
  form.addEventListener("input", (event) => {
    if (event.target.getAttribute("aria-invalid") === "true") quiet();
    changed();
  });
  form.addEventListener("change", (event) => (event.target.name === "kind" ? learn() : changed()));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("input") && !event.isComposing) event.preventDefault(); // it ends a number, it buys nothing
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || document.querySelector("dialog[open]") || event.target.closest?.("#made input")) return;
    event.preventDefault();
    if (!event.repeat) submit(); // a key that is held down is one press
  });
  addEventListener("pagehide", keepNow);
  find("#more").addEventListener("toggle", keep);
  find("#more summary").addEventListener("click", () => setTimeout(() => find("#more").open && find("#more .inside").scrollIntoView({ block: "nearest" })));
  find("#without").addEventListener("click", () => {
    awaited = false;
    learn();
    keep();
    field("prompt").focus();
  });
  find("#roll").addEventListener("click", () => {
    field("seed").value = rolled();
    changed();
    say(`Seed ${field("seed").value}.`);
  });
  find("#reset").addEventListener("click", () => {
    reset();
    learn();
    keep();
    say("Everything but the model is automatic again.");
  });
  find("#pick-model").addEventListener("click", async () => {
    const id = await choosing().then(({ pick }) => pick(task(), model())).catch((wrong) => {
      complain(wrong);
      return null;
    });
    find("#pick-model").focus();
    if (id === null) return;
    models[task()] = id;
    quiet();
    await learn();
    keep();
  });
  learn();
}
