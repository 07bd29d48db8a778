// The jobs that this page knows, each as it was last told. A later fact replaces an earlier one, never the other way.

export const jobs = new Map();
const heard = new Set();

/** Takes in a job as it was told; everybody who listens hears of it if it is news. `quiet`: of what is new, nobody. */
export function put(job, { quiet = false } = {}) {
  const before = jobs.get(job.id) ?? null;
  if (before && before.updated_at > job.updated_at) return;
  jobs.set(job.id, job);
  if (quiet && !before) return;
  for (const hear of heard) hear(job, before);
}

/** Forgets a job. */
export const drop = (id) => jobs.delete(id);

/** `hear(job, before)` at each change; `before` is null for a job not known until then. */
export const onChange = (hear) => heard.add(hear);

/** What a job is to a person: "open", "doubt", "done", "failed" or "cancelled". */
export function standing(job) {
  if (job.state === "doubt") return "doubt";
  if (job.status === "completed") return "done";
  if (job.stage === "ended" && (job.status === "failed" || job.status === "cancelled")) return job.status;
  return "open";
}

export const isVideo = (job) => job.task.endsWith("video");
