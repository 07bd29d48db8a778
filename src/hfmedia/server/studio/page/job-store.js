// The jobs that this page knows, each in its latest version. A newer version replaces an older one, never the reverse.

export const jobs = new Map();
const changeListeners = new Set();
const removeListeners = new Set();
const removedAt = new Map(); // id -> when it was removed; responses to earlier requests do not bring it back

/** The current time, for `requestedAt` of upsert. */
export const now = () => performance.now();

/**
 * Adds or updates a job and notifies the listeners if it is news. `quiet`: not about a new job. `requestedAt`: when it
 * was requested. A deleted job is removed.
 */
export function upsert(job, { quiet = false, requestedAt = now() } = {}) {
  if (job.status === "deleted") return remove(job.id);
  if (requestedAt < (removedAt.get(job.id) ?? 0)) return undefined;
  const before = jobs.get(job.id) ?? null;
  if (before && before.updatedAt > job.updatedAt) return undefined;
  removedAt.delete(job.id);
  if (before && JSON.stringify(before) === JSON.stringify(job)) return undefined;
  jobs.set(job.id, job);
  if (quiet && !before) return undefined;
  for (const listener of changeListeners) listener(job, before);
  return undefined;
}

/** Removes a job that is deleted or being deleted: versions requested before `until` are ignored. */
export function remove(id, until = now()) {
  removedAt.set(id, until);
  if (!jobs.delete(id)) return;
  for (const listener of removeListeners) listener(id);
}

/** Calls `listener(job, before)` on each change; `before` is null for a new job. */
export const onChange = (listener) => changeListeners.add(listener);

/** Calls `listener(id)` for each removed job. */
export const onRemove = (listener) => removeListeners.add(listener);

/** Newest first, as the gateway lists jobs: the ids of generations sort by age, and their outputs are numbered. */
export const compareNewestFirst = (one, other) => (one.generation === other.generation ? one.index - other.index : one.generation < other.generation ? 1 : -1);

export const isVideo = (job) => job.task.endsWith("video");
