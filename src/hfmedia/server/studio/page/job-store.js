// The jobs that this page knows, each as it was last told. A later fact replaces an earlier one, never the other way.

export const jobs = new Map();
const heard = new Set();
const left = new Set();
const gone = new Map(); // id -> when it was deleted; what was asked for before that does not bring it back

/** Now, as `asked` of put. */
export const now = () => performance.now();

/**
 * Takes in a job as it was told; everybody who listens hears of it if it is news. `quiet`: of what is new, nobody.
 * `asked`: when it was asked for. A job that is told to be deleted is forgotten.
 */
export function put(job, { quiet = false, asked = now() } = {}) {
  if (job.deleted_at !== null) return drop(job.id);
  if (asked < (gone.get(job.id) ?? 0)) return undefined;
  const before = jobs.get(job.id) ?? null;
  if (before && before.updated_at > job.updated_at) return undefined;
  gone.delete(job.id);
  if (before && JSON.stringify(before) === JSON.stringify(job)) return undefined;
  jobs.set(job.id, job);
  if (quiet && !before) return undefined;
  for (const hear of heard) hear(job, before);
  return undefined;
}

/** Forgets a job that is deleted, or is being deleted: `until` then, whatever is told of it is late. */
export function drop(id, until = now()) {
  gone.set(id, until);
  if (!jobs.delete(id)) return;
  for (const leave of left) leave(id);
}

/** `hear(job, before)` at each change; `before` is null for a job not known until then. */
export const onChange = (hear) => heard.add(hear);

/** `leave(id)` for each job that is forgotten. */
export const onDrop = (leave) => left.add(leave);

/** Newest first, as the gateway lists them: the ids of orders sort by age, and outputs are counted. */
export const byAge = (one, other) => (one.order === other.order ? one.index - other.index : one.order < other.order ? 1 : -1);

/** What a job is to a person: "open", "doubt", "done", "failed", "cancelled" or "deleted". */
export function standing(job) {
  if (job.deleted_at !== null) return "deleted";
  if (job.state === "doubt") return "doubt";
  if (job.status === "completed") return "done";
  if (job.stage === "ended" && (job.status === "failed" || job.status === "cancelled")) return job.status;
  return "open";
}

export const isVideo = (job) => job.task.endsWith("video");
