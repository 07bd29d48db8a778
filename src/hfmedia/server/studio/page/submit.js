// A wish becomes an order once. Until an answer says that it did, the same wish is sent under the same name only.

import { api, newKey } from "./api.js";
import { tab } from "./storage.js";
import { jobs } from "./job-store.js";
import { asBody } from "./request.js";

const ONE_PRESS = 700; // milliseconds in which a second press for the same wish is the first one's echo
const LASTS = 86_400_000; // milliseconds for which an unanswered wish keeps its name
const MOST = 20; // unanswered wishes remembered
const names = "unsent"; // under which they outlive a reload: mark -> { key, at }
const sending = new Map(); // mark -> promise
let unanswered = Object.fromEntries(Object.entries(tab.read(names, {}) ?? {}).filter(([, one]) => Date.now() - one?.at < LASTS));
let last = { mark: "", at: 0 };

/**
 * Orders a wish: `{ jobs, late }`. `late`: an earlier try had arrived after all, and nothing was made anew. Null where
 * the press was one with the press before it. Whatever error comes, the wish may have arrived: it keeps its name.
 */
export async function order(wish, picture = null) {
  const mark = await markOf(wish, picture);
  const echo = mark === last.mark && performance.now() - last.at < ONE_PRESS;
  last = { mark, at: performance.now() };
  if (sending.has(mark)) return sending.get(mark);
  if (echo && !unanswered[mark]) return null;
  const asked = ask(mark, wish, picture).finally(() => sending.delete(mark));
  sending.set(mark, asked);
  return asked;
}

async function ask(mark, wish, picture) {
  const before = unanswered[mark];
  const known = new Set(jobs.keys());
  const { key } = remember(mark, before ?? { key: newKey(), at: Date.now() });
  try {
    const { data } = await api.make(asBody(wish, picture), key);
    remember(mark, null);
    return { jobs: data, late: Boolean(before) && data.every((job) => known.has(job.id) || job.deleted_at !== null) };
  } catch (trouble) {
    if (trouble.code === "idempotency_key_reused") remember(mark, null); // it names another wish: this one never arrived
    throw trouble;
  }
}

function remember(mark, one) {
  const { [mark]: _, ...others } = unanswered;
  unanswered = Object.fromEntries([...Object.entries(others).slice(1 - MOST), ...(one ? [[mark, one]] : [])]);
  tab.write(names, unanswered);
  return one;
}

/** What tells a wish from every other, its picture's bytes included. */
async function markOf(wish, picture) {
  const told = new TextEncoder().encode(JSON.stringify(wish));
  const seen = picture ? new Uint8Array(await picture.arrayBuffer()) : new Uint8Array();
  return [digest(told), digest(seen), told.length, seen.length].join(".");
}

/** 64 bits of FNV's kind in two halves: crypto.subtle is missing where there is no https. */
function digest(data) {
  let [one, other] = [0x811c9dc5, 0x01000193];
  for (const byte of data) {
    one = Math.imul(one ^ byte, 0x01000193);
    other = Math.imul(other ^ byte ^ (one >>> 15), 0x5bd1e995);
  }
  return (one >>> 0).toString(36) + (other >>> 0).toString(36);
}
