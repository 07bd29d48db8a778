// The gateway's public API. Every request goes through here, with the key, and every error comes out in one shape.

import { current, opened, wanted } from "./auth.js";

const ROOT = new URL("../", import.meta.url); // the page may lie under any prefix

/** An answer that is an error. `status` 0: nobody answered. */
export class Trouble extends Error {
  constructor(status, facts = {}) {
    super(facts.message ?? "The gateway gave no answer.");
    this.status = status;
    this.code = facts.code ?? null;
    this.param = facts.param ?? null;
    this.limit = facts.limit ?? null; // of the key, where one is reached
    this.job = facts.job_id ?? null;
  }
}

/** JSON, with whole numbers beyond what JavaScript can hold as text: seeds have up to 20 digits. */
export function parsed(text) {
  return JSON.parse(text.replace(/(?<!\\)"seed":\s*(\d{16,})/g, '"seed":"$1"'));
}

let ahead = 0; // milliseconds by which the gateway's clock is before this machine's

/** What time it is at the gateway, in milliseconds: jobs carry its times. */
export const clock = () => Date.now() + ahead;

function setClock(date) {
  const off = Date.parse(date ?? "") - Date.now();
  if (Number.isFinite(off)) ahead = Math.abs(off) < 2000 ? 0 : off; // the header counts whole seconds
}

/** The raw answer, with a key asked for whenever the gateway wants one. */
export async function reach(path, { method = "GET", json, form, headers = {}, signal } = {}) {
  for (;;) {
    const key = current();
    const sent = { ...headers };
    if (key !== null) sent.Authorization = `Bearer ${key}`;
    if (json !== undefined) sent["Content-Type"] = "application/json";
    let answer;
    const limit = AbortSignal.timeout(method === "GET" ? 60_000 : 150_000);
    try {
      const body = form ?? (json === undefined ? undefined : JSON.stringify(json));
      answer = await fetch(new URL(path, ROOT), { method, headers: sent, body, signal: signal ?? limit, cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Trouble(0);
    }
    setClock(answer.headers.get("Date"));
    if (answer.ok) {
      if (key !== null) opened(key);
      return answer;
    }
    const facts = await answer.json().then((body) => body.error ?? {}, () => ({ message: `The gateway answered ${answer.status}.` }));
    if (answer.status !== 401) throw new Trouble(answer.status, facts);
    if (key === current()) await wanted(facts.message);
  }
}

/**
 * A part of this page that nobody needs before the form can be written in: a function that fetches it, with a Trouble
 * where it did not arrive. The next try takes another address, since browsers keep a failed one as failed.
 */
export function part(name) {
  let failed = 0;
  return () => import(`./${name}.js${failed ? `?try=${failed}` : ""}`).catch(() => {
    failed += 1;
    throw new Trouble(0);
  });
}

/** The answer's JSON. */
export async function ask(path, options) {
  const answer = await reach(path, options);
  const text = await answer.text().catch((error) => {
    throw error.name === "AbortError" ? error : new Trouble(0); // it broke off in the middle
  });
  try {
    return parsed(text);
  } catch {
    throw new Trouble(502, { message: "What answered is no gateway of hfmedia." });
  }
}

/** A query string of what is there. */
export function query(facts) {
  const given = Object.entries(facts).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

/** Where a file lies, as this page reaches it: the gateway may know itself by another name. */
export function fileUrl(told, { download = false } = {}) {
  const name = new URL(told, ROOT).pathname.split("/media/").pop();
  return new URL(`media/${name}${download ? "?download=true" : ""}`, ROOT).href;
}

/** Whether a file is no longer there for certain: not when nobody answers, or a proxy on the way fails. */
export async function missing(told) {
  const answer = await fetch(fileUrl(told), { method: "HEAD", cache: "no-store" }).catch(() => null);
  return answer?.status === 404 || answer?.status === 410;
}

/** A name for one wish, so that sending it again after a broken connection never makes it twice. */
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const job = (id, deed = "") => `v1/jobs/${encodeURIComponent(id)}${deed}`;

export const api = {
  health: () => ask("healthz"),
  make: (body, key) => ask("v1/jobs", { method: "POST", ...body, headers: { "Idempotency-Key": key } }),
  preview: (body, signal) => ask("v1/jobs/preview", { method: "POST", ...body, signal }),
  jobs: (facts) => ask(`v1/jobs${query(facts)}`),
  job: (id) => ask(job(id)),
  cancel: (id) => ask(job(id, "/cancel"), { method: "POST" }),
  resolve: (id, decision) => ask(job(id, "/resolve"), { method: "POST", json: { decision } }),
  remove: (id) => ask(job(id), { method: "DELETE" }),
  restore: (id) => ask(job(id, "/restore"), { method: "POST" }),
  models: (task) => ask(`v1/models${query({ task })}`),
  model: (id) => ask(`v1/models/${id.split("/").map(encodeURIComponent).join("/")}`),
  usage: () => ask("v1/usage"),
  providers: () => ask("v1/providers"),
};
