// The one stream of events: each carries a whole job. It is taken up again when it breaks, and what was missed is read anew.

import { parsed, reach } from "./api.js";

const FIRST = 500; // milliseconds until the first new try
const LONGEST = 15_000; // between later ones: a gateway that was restarted is noticed soon
const SILENT = 45_000; // without even a comment (one comes each ten seconds) the connection is dead

/** Listens for as long as the page lives. `hear(job)`, `ready(again)` at each begin, `lost()` at each end. */
export async function listen({ hear, ready, lost }) {
  let wait = FIRST;
  for (let again = false; ; again = true) {
    const stop = new AbortController();
    let timer = 0;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => stop.abort(), SILENT);
    };
    try {
      alive();
      const answer = await reach("v1/events", { signal: stop.signal });
      wait = FIRST;
      ready(again);
      for await (const data of events(answer.body, alive)) hear(data);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
    }
    clearTimeout(timer);
    stop.abort();
    lost();
    await new Promise((resolve) => {
      const woken = () => {
        clearTimeout(slept);
        removeEventListener("online", woken);
        resolve();
      };
      const slept = setTimeout(woken, wait * (0.75 + Math.random() / 2));
      addEventListener("online", woken);
    });
    wait = Math.min(wait * 2, LONGEST);
  }
}

/** The data of each event of a body, in order. */
async function* events(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (data) yield parsed(data);
    }
  }
}
