// Plain words for what machines say: where a job stands, times, sizes, costs, and errors with what to do next.

/** What is made once, when it is first needed: formats take the browser a while. */
function first(make) {
  let made = null;
  return () => (made ??= make());
}
const NUMBER = first(() => new Intl.NumberFormat("en", { maximumFractionDigits: 4 }));
const DAY = first(() => new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }));
const CLOCK = first(() => new Intl.DateTimeFormat(undefined, { timeStyle: "short" }));
const DATE = first(() => new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" }));

export const number = (value) => NUMBER().format(value);
export const moment = (seconds) => DAY().format(new Date(seconds * 1000));

/** A moment in as few letters as do: the time of today, the date of another day. */
export function briefly(seconds) {
  const at = new Date(seconds * 1000);
  return (at.toDateString() === new Date().toDateString() ? CLOCK : DATE)().format(at);
}

/** A move in two parts: who took over, and why. */
export function moved(words) {
  const [, why, from, to] = /^(.*); moved from (\S+) to (\S+)$/s.exec(words) ?? [];
  return to ? [`Moved from ${from} to ${to}.`, sentence(why)] : [sentence(words), ""];
}

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
export const shortModel = (id) => id.split("/").pop();

/** Seconds as a clock shows them: 7 s, 1:05, 1:02:09. */
export function elapsed(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  const two = (value) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** How long something took: with a tenth where that is much of it. */
export const took = (seconds) => (seconds < 10 ? `${Math.max(0.1, seconds).toFixed(1)} s` : elapsed(seconds));

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  return count < 1e6 ? `${(count / 1e3).toFixed(0)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

/** Sums by unit: "0.05 USD + 3 fal-units". */
export const sums = (told) => Object.entries(told).map(([unit, amount]) => `${number(amount)} ${unit}`).join(" + ");

export function costOf(job) {
  if (job.cost) return job.cost.amount === 0 ? "Free" : `${number(job.cost.amount)} ${job.cost.unit}`;
  return job.may_be_billed ? "Not told by the provider" : "Nothing was billed";
}

/** Why nobody knows what became of an order: what its story ends with. */
export function doubted(job) {
  const [, why] = (job.error?.message ?? "").split("accepted and billed: ");
  return sentence(why ?? `no answer came from ${job.provider ?? "the provider"}`);
}

/** How far a job is, 0 to 1, where anybody tells; log lines of the usual progress bars count. */
export function fraction(job) {
  if (job.stage === "downloading") return job.total ? Math.min(1, job.received / job.total) : null;
  if (job.progress !== null) return job.progress;
  const shown = /(\d{1,3})%\|/.exec(job.message ?? "");
  return shown ? Math.min(100, Number(shown[1])) / 100 : null;
}

/** Where an open job stands, in one line. */
export function standsAt(job) {
  const where = job.provider ? ` at ${job.provider}` : "";
  const line = {
    waiting: () => "Waiting to start",
    asking: () => (job.provider ? `Asking ${job.provider}` : "Choosing a provider"),
    queued: () => (job.position === null ? `In the queue${where}` : job.position === 0 ? `Next in the queue${where}` : `In the queue${where}, ${number(job.position)} before it`),
    running: () => `Being made${where}`,
    downloading: () => (job.received ? `Downloading, ${bytes(job.received)}${job.total ? ` of ${bytes(job.total)}` : ""}` : "Downloading"),
    ended: () => "Finishing",
  }[job.stage];
  return line();
}

/** A provider's log line without its drawn bar: "40%, 8/20". */
export function logLine(message) {
  return (message ?? "").replace(/\|[#█▏▎▍▌▋▊▉\s\d]*\|/u, ", ").replace(/\s+/g, " ").trim();
}

const BY_CODE = {
  invalid_value: ["Something in the request does not fit.", "Change it and try again."],
  no_credential: ["The gateway has no Hugging Face token.", "Its keeper sets HF_TOKEN where it runs."],
  credential_refused: ["Hugging Face refused the gateway's token.", "Its keeper checks that the token is valid and may use Inference Providers."],
  insufficient_quota: ["There is no credit left.", "Add credit at Hugging Face, or choose a provider with an account of its own."],
  not_in_doubt: ["It is settled already.", "Its card tells how it went on."],
  rate_limit_exceeded: ["That was too quick.", "Wait a moment, then try again."],
  provider_busy: ["The provider is busy.", "Wait a moment, or choose another provider."],
  model_not_found: ["There is no such model.", "Choose another one from the list."],
  model_not_supported: ["Nobody runs this model for this now.", "Choose another model, or another task."],
  model_not_allowed: ["Your key may not use this model.", "Choose another one, or ask the gateway's keeper."],
  moderation_blocked: ["The provider refuses this content.", "Change the prompt or the image."],
  storage_failed: ["The gateway's disk refuses the file.", "Free some room there; the job can go on."],
  hub_unavailable: ["Hugging Face cannot be reached.", "Try again in a moment."],
  request_too_large: ["The image is too large.", "Choose a smaller one."],
};
const LIMITED = ["Your limit is reached.", "Wait until it resets, or ask the gateway's keeper for more."];
const BY_STATUS = {
  0: ["The gateway does not answer.", "It may be restarting, or your connection is down. What is under way goes on; try again in a moment."],
  402: BY_CODE.insufficient_quota,
  403: ["That is not allowed here.", "Ask the gateway's keeper."],
  404: ["It is no longer there.", "Reload the page to see what is."],
  413: BY_CODE.request_too_large,
  429: BY_CODE.rate_limit_exceeded,
  502: ["The provider failed.", "Try again, or choose another provider."],
  503: ["The gateway cannot do this now.", "Try again in a moment."],
};
const OTHERWISE = ["That did not work.", "Try again; if it stays so, the gateway's log has the rest."];

/** An error for people: what happened, what was said about it, and what to do. */
export function explained(trouble) {
  const [what, next] = (trouble.limit ? LIMITED : BY_CODE[trouble.code]) ?? BY_STATUS[trouble.status] ?? OTHERWISE;
  return { what, said: trouble.status === 0 ? "" : sentence(trouble.message), next };
}

/** The same in one line. */
export function inOneLine(trouble) {
  const { what, said, next } = explained(trouble);
  return [what, said, next].filter(Boolean).join(" ");
}

/** Words with a capital at their begin and a stop at their end. */
export function sentence(words) {
  const text = (words ?? "").trim();
  if (!text) return "";
  const first = /^[a-z]+ /.test(text) ? text[0].toUpperCase() + text.slice(1) : text;
  return /[.!?…]$/.test(first) ? first : `${first}.`;
}
