// Client of the gateway's public API: authentication, errors in one shape, and the only code that reads the server's JSON.

import { authenticated, currentKey, requestKey } from "./auth.js";

const ROOT = new URL("../", import.meta.url); // the page may be served under any path prefix
const READ_TIMEOUT = 60_000; // milliseconds
const WRITE_TIMEOUT = 150_000; // milliseconds; an upload may be large
const MAX_CLOCK_SKEW = 2000; // milliseconds; the Date header counts whole seconds

/** An error response. `status` 0: no response. */
export class ApiError extends Error {
  constructor(status, { message, code, param, limit } = {}) {
    super(message ?? "The gateway did not respond.");
    this.status = status;
    this.code = code ?? null;
    this.param = param ?? null;
    this.limit = limit ?? null; // the limit of the API key that was reached
  }
}

/** Parses JSON and keeps seeds beyond JavaScript's safe integers as text: they have up to 20 digits. */
const parseJson = (text) => JSON.parse(text.replace(/(?<!\\)"seed":\s*(\d{16,})/g, '"seed":"$1"'));

let clockOffset = 0; // milliseconds by which the gateway's clock is ahead of this device's

/** The gateway's current time in milliseconds: job timestamps are the gateway's. */
export const serverNow = () => Date.now() + clockOffset;

function syncClock(date) {
  const offset = Date.parse(date ?? "") - Date.now();
  if (Number.isFinite(offset)) clockOffset = Math.abs(offset) < MAX_CLOCK_SKEW ? 0 : offset;
}

/** Sends a request and returns its response. Asks for an API key whenever the gateway requires one. */
export async function fetchResponse(path, { method = "GET", json, form, headers = {}, signal } = {}) {
  for (;;) {
    const key = currentKey();
    const allHeaders = { ...headers };
    if (key !== null) allHeaders.Authorization = `Bearer ${key}`;
    if (json !== undefined) allHeaders["Content-Type"] = "application/json";
    let response;
    const timeout = AbortSignal.timeout(method === "GET" ? READ_TIMEOUT : WRITE_TIMEOUT);
    try {
      const body = form ?? (json === undefined ? undefined : JSON.stringify(json));
      response = await fetch(new URL(path, ROOT), { method, headers: allHeaders, body, signal: signal ?? timeout, cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0);
    }
    syncClock(response.headers.get("Date"));
    if (response.ok) {
      if (key !== null) authenticated(key);
      return response;
    }
    const details = await response.json().then((body) => body.error ?? {}, () => ({ message: `The gateway returned HTTP ${response.status}.` }));
    if (response.status !== 401) throw new ApiError(response.status, details);
    if (key === currentKey()) await requestKey(details.message);
  }
}

/** Sends a request and returns the JSON of its response. */
async function requestJson(path, options) {
  const response = await fetchResponse(path, options);
  const text = await response.text().catch((error) => {
    throw error.name === "AbortError" ? error : new ApiError(0); // the connection broke in the middle
  });
  try {
    return parseJson(text);
  } catch {
    throw new ApiError(502, { message: "The response did not come from an hfmedia gateway." });
  }
}

/**
 * Loads a module that is not needed before the form is ready; an ApiError if it does not arrive. A retry uses another
 * URL, because browsers remember that a module failed.
 */
export function lazyModule(name) {
  let failures = 0;
  return () => import(`./${name}.js${failures ? `?try=${failures}` : ""}`).catch(() => {
    failures += 1;
    throw new ApiError(0);
  });
}

const presentEntries = (object) => Object.entries(object).filter(([, value]) => value !== null && value !== undefined && value !== "");

/** A query string without empty values. */
function queryString(params) {
  const entries = presentEntries(params);
  return entries.length ? `?${new URLSearchParams(entries)}` : "";
}

/** A request as the body of POST /v1/jobs: a multipart form with an image, JSON without. */
function toBody(request, image) {
  const parameters = presentEntries(request);
  if (!image) return { json: Object.fromEntries(parameters) };
  const form = new FormData();
  for (const [name, value] of parameters) form.append(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  form.append("image", image, image.name || "image");
  return { form };
}

/** Whether a file is certainly gone: not if the gateway is unreachable or a proxy fails. */
export async function isMissing(url) {
  const response = await fetch(url, { method: "HEAD", cache: "no-store" }).catch(() => null);
  return response?.status === 404 || response?.status === 410;
}

/** An idempotency key: resending a request under the same key never submits it twice. */
export function newIdempotencyKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// -- the server's JSON as the page's objects --------------------------------------------------------------------------

/** The URL of a media file as this page reaches it: the gateway may know itself by another name. */
function mediaUrl(url, { download = false } = {}) {
  const name = new URL(url, ROOT).pathname.split("/media/").pop();
  return new URL(`media/${name}${download ? "?download=true" : ""}`, ROOT).href;
}

const toMedia = (raw) => ({
  url: mediaUrl(raw.url), downloadUrl: mediaUrl(raw.url, { download: true }), thumbnailUrl: mediaUrl(raw.thumbnail_url),
  kind: raw.kind, mime: raw.mime, width: raw.width, height: raw.height, bytes: raw.bytes, nsfw: raw.nsfw,
});

/** "open", "in_doubt", "done", "failed", "cancelled" or "deleted". */
function toStatus(raw) {
  if (raw.deleted_at !== null) return "deleted";
  if (raw.state === "in_doubt") return "in_doubt";
  if (raw.status === "completed") return "done";
  if (raw.stage === "ended" && (raw.status === "failed" || raw.status === "cancelled")) return raw.status;
  return "open";
}

/** A failover; `from` and `to` are null if only its `reason` is known. */
const toFailover = (raw) => ({ reason: raw.reason, from: raw.previous_provider, to: raw.provider });

/** `reason`: why a job is in doubt. `dismissed`: its owner resolved it as lost. */
const toJobError = (raw) => ({ message: raw.message, hint: raw.hint, reason: raw.reason, dismissed: raw.kind === "dropped" });

const toJob = (raw) => ({
  id: raw.id, generation: raw.generation, index: raw.index, status: toStatus(raw), stage: raw.stage,
  task: raw.task, prompt: raw.prompt, model: raw.model, provider: raw.provider, seed: raw.seed,
  requestedProvider: raw.requested_model.split(":")[1] ?? "", requestedParameters: raw.requested_parameters, parameters: raw.parameters,
  createdAt: raw.created_at, updatedAt: raw.updated_at, deletedAt: raw.deleted_at,
  progress: raw.progress, queuePosition: raw.position, message: raw.message, receivedBytes: raw.received, totalBytes: raw.total,
  failovers: raw.failovers.map(toFailover), warnings: raw.warnings, error: raw.error && toJobError(raw.error),
  cost: raw.cost && { amount: raw.cost.amount, unit: raw.cost.unit }, mayBeBilled: raw.may_be_billed, media: raw.media.map(toMedia),
});

/** A job from the JSON of an event. */
export const parseJob = (text) => toJob(parseJson(text));

const toJobPage = (raw) => ({ jobs: raw.data.map(toJob), hasMore: raw.has_more === true });

const toPreview = (raw) => ({ provider: raw.provider, model: raw.model, parameters: raw.parameters, warnings: raw.warnings, rejection: raw.rejection });

/** What a provider accepts for a task: the names of parameters; "size" stands for all ways to give a size. */
const toCapabilities = (raw) => raw && new Set([...raw.parameters, ...(raw.size.style === "none" ? [] : ["size"])]);

const mapValues = (object, fn) => Object.fromEntries(Object.entries(object ?? {}).map(([name, value]) => [name, fn(value)]));

const toModel = (raw) => ({
  id: raw.id, providers: [...new Set(raw.providers.map((served) => served.provider))],
  capabilities: mapValues(raw.capabilities, (providers) => mapValues(providers, toCapabilities)), // by task and provider
});

/** `amounts`: reported costs by unit; `reported`, `unknown` and `free` count jobs. */
const toCosts = (raw) => ({ jobs: raw.jobs, amounts: raw.reported, reported: raw.jobs_with_cost, unknown: raw.jobs_without_cost, free: raw.free });

const toUsage = (raw) => ({
  today: toCosts(raw.today), month: toCosts(raw.month), dayResetsAt: raw.day_resets_at, monthResetsAt: raw.month_resets_at,
  imagesToday: raw.images_today, videosToday: raw.videos_today, usdThisMonth: raw.usd_month,
  limits: {
    models: raw.limits.models, requestsPerMinute: raw.limits.requests_per_minute,
    imagesPerDay: raw.limits.images_per_day, videosPerDay: raw.limits.videos_per_day, usdPerMonth: raw.limits.usd_per_month,
  },
});

const toProvider = (raw) => ({ name: raw.name, cooldownSeconds: raw.cooldown_seconds, reason: raw.last_error, reasonAt: raw.last_error_at });

/** A generation parameter as a field of the form can show it. `multiline`: free text; `minimum` is null for text. */
const toParameter = (raw) => ({
  name: raw.name, kind: raw.kind, group: raw.group, help: raw.help, minimum: raw.minimum, maximum: raw.maximum, choices: raw.choices,
  multiline: raw.metavar === "TEXT" && raw.choices.length === 0, videoOnly: raw.video_only, needsImage: raw.needs_image,
});

/** The generation parameters of the gateway; they are part of the page. */
export const PARAMETERS = JSON.parse(document.querySelector("meta[name=parameters]").content).map(toParameter);

const toHealth = (raw) => ({ version: raw.version, sandbox: raw.sandbox === true });

// -- endpoints --------------------------------------------------------------------------------------------------------

const jobPath = (id, action = "") => `v1/jobs/${encodeURIComponent(id)}${action}`;
const post = async (path, options) => toJob(await requestJson(path, { method: "POST", ...options }));

export const api = {
  health: async () => toHealth(await requestJson("healthz")),
  createJobs: async (request, image, key) => (await requestJson("v1/jobs", { method: "POST", ...toBody(request, image), headers: { "Idempotency-Key": key } })).data.map(toJob),
  preview: async (request, image, signal) => (await requestJson("v1/jobs/preview", { method: "POST", ...toBody(request, image), signal })).data.map(toPreview),
  jobs: async (params) => toJobPage(await requestJson(`v1/jobs${queryString(params)}`)),
  job: async (id) => toJob(await requestJson(jobPath(id))),
  cancel: (id) => post(jobPath(id, "/cancel")),
  resend: (id) => post(jobPath(id, "/resolve"), { json: { decision: "resend" } }),
  dismiss: (id) => post(jobPath(id, "/resolve"), { json: { decision: "drop" } }),
  remove: (id) => requestJson(jobPath(id), { method: "DELETE" }),
  restore: (id) => post(jobPath(id, "/restore")),
  models: async (task) => (await requestJson(`v1/models${queryString({ task })}`)).data.map(toModel),
  model: async (id) => toModel(await requestJson(`v1/models/${id.split("/").map(encodeURIComponent).join("/")}`)),
  usage: async () => toUsage(await requestJson("v1/usage")),
  providers: async () => (await requestJson("v1/providers")).data.map(toProvider),
};
