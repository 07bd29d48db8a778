// The one stream of events: each carries a whole job. It is taken up again when it breaks, and what was missed is read anew.

import { parsed, reach } from "./api.js";

const FIRST = 500; // milliseconds until the first new try
const LONGEST = 15_000; // between later ones: a gateway that was restarted is noticed soon
const BEGINS = 12_000; // it says at once that it listens: a first word that is later than this is held back on its way
const SILENT = 45_000; // without even a comment (one comes each ten seconds) the connection is dead
const UNSEEN = 10_000; // in the background: a browser has few connections for one server, and all its tabs share them

/**
 * Listens for as long as the page lives and is seen. `hear(job)`; `ready(again)` at each begin; `lost(trouble)` at each
 * end that nobody wanted, with the error where there is one; `rests()` when it stops because nobody looks.
 */
export async function listen({ hear, ready, lost, rests }) {
  let wait = FIRST;
  for (let again = false; ; ) {
    await seen();
    const stop = new AbortController();
    let timer = 0;
    let trouble = null;
    const alive = (within = SILENT) => {
      clearTimeout(timer);
      timer = setTimeout(() => stop.abort(), within);
    };
    const hidden = unseen(() => stop.abort());
    try {
      alive(BEGINS);
      const answer = await reach("v1/events", { signal: stop.signal });
      for await (const data of events(answer.body, alive)) {
        if (data) hear(data);
        else {
          wait = FIRST;
          ready(again);
          again = true;
        }
      }
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      trouble = error.name === "AbortError" ? null : error;
    }
    clearTimeout(timer);
    stop.abort();
    if (hidden()) {
      rests();
      continue;
    }
    lost(trouble);
    await slept(wait);
    wait = Math.min(wait * 2, LONGEST);
  }
}

/** The data of each event of a body, in order; first of all null, once anything comes. */
async function* events(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let first = true; ; first = false) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
    if (first) yield null;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (data) yield parsed(data);
    }
  }
}

/** Resolves when the page is in sight. */
function seen() {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    look();
  });
}

/** Does something once the page has been out of sight for a while; the answer ends that, and tells whether it came. */
function unseen(deed) {
  let timer = 0;
  let came = false;
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) {
      timer = setTimeout(() => {
        came = true;
        deed();
      }, UNSEEN);
    }
  };
  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", look);
    return came;
  };
}

/** Waits for about so long, or until the network is back. */
function slept(wait) {
  return new Promise((resolve) => {
    const woken = () => {
      clearTimeout(timer);
      removeEventListener("online", woken);
      resolve();
    };
    const timer = setTimeout(woken, wait * (0.75 + Math.random() / 2));
    addEventListener("online", woken);
  });
}
