// Submits requests exactly once: until a response confirms one, it is resent under the same idempotency key only.

import { api, newIdempotencyKey } from "./api.js";
import { session } from "./storage.js";

const REPEAT_WINDOW = 700; // milliseconds within which a second press counts as part of the first
const KEY_LIFETIME = 86_400_000; // milliseconds for which an unconfirmed request keeps its key
const MAX_UNCONFIRMED = 20; // requests
const STORAGE_KEY = "unconfirmed"; // keeps them across reloads: fingerprint -> { key, at }
const inFlight = new Map(); // fingerprint -> promise
let unconfirmed = Object.fromEntries(Object.entries(session.read(STORAGE_KEY, {}) ?? {}).filter(([, entry]) => Date.now() - entry?.at < KEY_LIFETIME));
let lastPress = { fingerprint: "", at: 0 };

/**
 * Submits a request: `{ jobs, duplicate }`. `duplicate`: an earlier attempt had arrived, and all its jobs are known.
 * Null if the press was part of the one before. After any error the request may have arrived: it keeps its key.
 */
export async function submitJobs(request, image, knownIds) {
  const fingerprint = await fingerprintOf(request, image);
  const repeated = fingerprint === lastPress.fingerprint && performance.now() - lastPress.at < REPEAT_WINDOW;
  lastPress = { fingerprint, at: performance.now() };
  if (inFlight.has(fingerprint)) return inFlight.get(fingerprint);
  if (repeated && !unconfirmed[fingerprint]) return null;
  const submission = send(fingerprint, request, image, new Set(knownIds)).finally(() => inFlight.delete(fingerprint));
  inFlight.set(fingerprint, submission);
  return submission;
}

async function send(fingerprint, request, image, known) {
  const earlier = unconfirmed[fingerprint];
  const { key } = setUnconfirmed(fingerprint, earlier ?? { key: newIdempotencyKey(), at: Date.now() });
  try {
    const jobs = await api.createJobs(request, image, key);
    setUnconfirmed(fingerprint, null);
    return { jobs, duplicate: Boolean(earlier) && jobs.every((job) => known.has(job.id) || job.status === "deleted") };
  } catch (error) {
    if (error.code === "idempotency_key_reused") setUnconfirmed(fingerprint, null); // the key belongs to another request: this one never arrived
    throw error;
  }
}

function setUnconfirmed(fingerprint, entry) {
  const { [fingerprint]: _, ...others } = unconfirmed;
  unconfirmed = Object.fromEntries([...Object.entries(others).slice(1 - MAX_UNCONFIRMED), ...(entry ? [[fingerprint, entry]] : [])]);
  session.write(STORAGE_KEY, unconfirmed);
  return entry;
}

/** Identifies a request, including the bytes of its image. */
async function fingerprintOf(request, image) {
  const text = new TextEncoder().encode(JSON.stringify(request));
  const bytes = image ? new Uint8Array(await image.arrayBuffer()) : new Uint8Array();
  return [hash(text), hash(bytes), text.length, bytes.length].join(".");
}

/** A 64-bit hash like FNV in two halves: crypto.subtle is missing without https. */
function hash(data) {
  let [high, low] = [0x811c9dc5, 0x01000193];
  for (const byte of data) {
    high = Math.imul(high ^ byte, 0x01000193);
    low = Math.imul(low ^ byte ^ (high >>> 15), 0x5bd1e995);
  }
  return (high >>> 0).toString(36) + (low >>> 0).toString(36);
}
