// Formats values for people: numbers, times, sizes, costs, and the progress of a job.

/** A formatter created on first use: it takes the browser a while. */
function lazy(create) {
  let value = null;
  return () => (value ??= create());
}
const NUMBER = lazy(() => new Intl.NumberFormat("en", { maximumFractionDigits: 4 }));
const DATE_TIME = lazy(() => new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }));
const TIME = lazy(() => new Intl.DateTimeFormat(undefined, { timeStyle: "short" }));
const DATE = lazy(() => new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" }));

export const formatNumber = (value) => NUMBER().format(value);
export const plural = (count, noun, many = `${noun}s`) => `${formatNumber(count)} ${count === 1 ? noun : many}`;
export const shortModelName = (id) => id.split("/").pop();

/** A text with a capital letter at its start and a period at its end; names such as fal-ai stay as they are. */
export function sentence(text) {
  const trimmed = (text ?? "").trim();
  if (!trimmed) return "";
  const capitalized = /^[a-z]+ /.test(trimmed) ? trimmed[0].toUpperCase() + trimmed.slice(1) : trimmed;
  return /[.!?…]$/.test(capitalized) ? capitalized : `${capitalized}.`;
}

// -- times and sizes --------------------------------------------------------------------------------------------------

export const formatDateTime = (seconds) => DATE_TIME().format(new Date(seconds * 1000));

/** A short timestamp: the time if it is today, otherwise the date. */
export function formatShort(seconds) {
  const date = new Date(seconds * 1000);
  return (date.toDateString() === new Date().toDateString() ? TIME : DATE)().format(date);
}

/** Elapsed seconds as a clock shows them: 7 s, 1:05, 1:02:09. */
export function formatElapsed(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  const two = (value) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** A duration: with a tenth of a second if it is short. */
export const formatDuration = (seconds) => (seconds < 10 ? `${Math.max(0.1, seconds).toFixed(1)} s` : formatElapsed(seconds));

export function formatBytes(count) {
  if (count < 1000) return `${count} B`;
  return count < 1e6 ? `${(count / 1e3).toFixed(0)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

// -- costs ------------------------------------------------------------------------------------------------------------

const PROVIDER_UNITS = { "fal-units": "fal-ai billing unit", "predict-seconds": "Replicate compute second" };

const formatAmount = (amount, unit) => (PROVIDER_UNITS[unit] ? plural(amount, PROVIDER_UNITS[unit]) : `${formatNumber(amount)} ${unit}`);

/** Amounts by unit: "0.05 USD + 3 fal-ai billing units". */
export const formatAmounts = (amounts) => Object.entries(amounts).map(([unit, amount]) => formatAmount(amount, unit)).join(" + ");

/** Says that a unit other than USD is a provider's own; empty for USD. */
export const unitNote = (unit) => (unit === "USD" ? "" : "the provider's own unit; no price in USD");

export function formatCost(job) {
  if (!job.cost) return job.mayBeBilled ? "Not reported by the provider; may be billed" : "Nothing was billed";
  if (job.cost.amount === 0) return "Free";
  const note = unitNote(job.cost.unit);
  return `${formatAmount(job.cost.amount, job.cost.unit)}${note && ` (${note})`}`;
}

// -- jobs -------------------------------------------------------------------------------------------------------------

/** A failover as a headline and its reason. */
export function formatFailover({ reason, from, to }) {
  return to ? [`Failed over from ${from} to ${to}.`, sentence(reason)] : [sentence(reason), ""];
}

/** A failover in one text. */
export const failoverText = (failover) => formatFailover(failover).filter(Boolean).join(" ");

/** Why a job is in doubt. */
export const formatDoubt = (job) => sentence(job.error?.reason ?? `no response from ${job.provider ?? "the provider"}`);

/** The progress of a job from 0 to 1, or null if unknown; also read from a log line with a common progress bar. */
export function progressOf(job) {
  if (job.stage === "downloading") return job.totalBytes ? Math.min(1, job.receivedBytes / job.totalBytes) : null;
  if (job.progress !== null) return job.progress;
  const percent = /(\d{1,3})%\|/.exec(job.message ?? "");
  return percent ? Math.min(100, Number(percent[1])) / 100 : null;
}

/** The stage of an open job in one line. */
export function formatStage(job) {
  const where = job.provider ? ` at ${job.provider}` : "";
  const line = {
    waiting: () => "Waiting to start",
    submitting: () => (job.provider ? `Submitting to ${job.provider}` : "Choosing a provider"),
    queued: () => (job.queuePosition === null ? `Queued${where}` : job.queuePosition === 0 ? `Next in the queue${where}` : `Queued${where}, ${formatNumber(job.queuePosition)} ahead`),
    running: () => `Running${where}`,
    downloading: () => (job.receivedBytes ? `Downloading, ${formatBytes(job.receivedBytes)}${job.totalBytes ? ` of ${formatBytes(job.totalBytes)}` : ""}` : "Downloading"),
    ended: () => "Finishing",
  }[job.stage];
  return line();
}

/** A provider's log line without its progress bar: "40%, 8/20". */
export function formatLogLine(message) {
  return (message ?? "").replace(/\|[#█▏▎▍▌▋▊▉\s\d]*\|/u, ", ").replace(/\s+/g, " ").trim();
}
