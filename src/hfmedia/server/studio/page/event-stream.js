// The event stream: each event carries a whole job. It reconnects when it breaks; what was missed is then read again.

import { fetchResponse, parseJob } from "./api.js";

const MIN_BACKOFF = 500; // milliseconds before the first reconnect
const MAX_BACKOFF = 15_000; // milliseconds: a restarted gateway is noticed soon
const CONNECT_TIMEOUT = 12_000; // milliseconds; the gateway writes at once, so a later first byte was held back by a proxy
const IDLE_TIMEOUT = 45_000; // milliseconds; a comment arrives every ten seconds, so a longer silence is a dead connection
const HIDDEN_GRACE_PERIOD = 10_000; // milliseconds; a browser shares few connections per server among all its tabs

/**
 * Subscribes to events as long as the page is open and visible. `onJob(job)`; `onConnected(reconnected)`;
 * `onDisconnected(error)` when the stream breaks, the error null if there is none; `onPaused()` when the page is hidden.
 */
export async function subscribe({ onJob, onConnected, onDisconnected, onPaused }) {
  let backoff = MIN_BACKOFF;
  for (let reconnected = false; ; ) {
    await whenVisible();
    const abort = new AbortController();
    let timer = 0;
    let failure = null;
    const keepAlive = (timeout = IDLE_TIMEOUT) => {
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), timeout);
    };
    const stopWatching = whenHidden(() => abort.abort());
    try {
      keepAlive(CONNECT_TIMEOUT);
      const response = await fetchResponse("v1/events", { signal: abort.signal });
      for await (const data of readEvents(response.body, keepAlive)) {
        if (data) onJob(parseJob(data));
        else {
          backoff = MIN_BACKOFF;
          onConnected(reconnected);
          reconnected = true;
        }
      }
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      failure = error.name === "AbortError" ? null : error;
    }
    clearTimeout(timer);
    abort.abort();
    if (stopWatching()) {
      onPaused();
      continue;
    }
    onDisconnected(failure);
    await waitToReconnect(backoff);
    backoff = Math.min(backoff * 2, MAX_BACKOFF);
  }
}

/** The data of each event of a response body, in order; first null, once the first bytes arrive. */
async function* readEvents(body, keepAlive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let first = true; ; first = false) {
    const { done, value } = await reader.read();
    if (done) return;
    keepAlive();
    if (first) yield null;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (data) yield data;
    }
  }
}

/** Resolves once the page is visible. */
function whenVisible() {
  return new Promise((resolve) => {
    const check = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", check);
      resolve();
    };
    document.addEventListener("visibilitychange", check);
    check();
  });
}

/** Calls `callback` once the page has been hidden for a while; the returned function stops watching and says whether it did. */
function whenHidden(callback) {
  let timer = 0;
  let called = false;
  const check = () => {
    clearTimeout(timer);
    if (document.hidden) {
      timer = setTimeout(() => {
        called = true;
        callback();
      }, HIDDEN_GRACE_PERIOD);
    }
  };
  document.addEventListener("visibilitychange", check);
  check();
  return () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", check);
    return called;
  };
}

/** Waits for about the given time, or until the network is back. */
function waitToReconnect(delay) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, delay * (0.75 + Math.random() / 2));
    addEventListener("online", done);
  });
}
