// Everything that was and is being made, newest first. It comes in pages as one scrolls.

import { api } from "./api.js";
import { card, focusOn, tick, update } from "./job-card.js";
import { all, bring, button, el, find, release, retext, settled } from "./dom.js";
import { notice, say } from "./notifications.js";
import { byAge, drop, jobs, now, onChange, onDrop, put, standing } from "./job-store.js";
import { beforeOf, cards, clear, hang, hangAll, nextOf, takeDown } from "./grid.js";
import { titleOf } from "./request.js";
import { inOneLine, number, plural } from "./format.js";

const PAGE = 60;
const OPEN = 200; // open jobs read at once
const MOST = 20; // pages read to catch up, and jobs asked for one by one; beyond that it begins anew
const DOUBTED = 15_000; // milliseconds after which open cards are compared with the gateway, should an event be lost
const SELDOM = 4; // times that, where nobody looks
const AGAIN = [2000, 5000, 15_000, 60_000]; // milliseconds after which a page that did not come is asked for again
const wall = find("#wall");
const ending = find("#ending");
const empty = find("#empty");
const search = find("#search");
const FILTERS = [
  { name: "All", fits: () => true, query: {} },
  { name: "Under way", fits: (job) => ["open", "doubt"].includes(standing(job)), query: { status: "open" } },
  { name: "Images", fits: (job) => job.task.endsWith("image"), query: { kind: "image" } },
  { name: "Videos", fits: (job) => job.task.endsWith("video"), query: { kind: "video" } },
  { name: "Failed", fits: (job) => standing(job) === "failed", query: { status: "failed" }, none: "Nothing failed." },
  { name: "Deleted", fits: () => false, query: { status: "deleted" } },
];
let filter = FILTERS[0];
let deeds = {};
let edge = null; // the last job of the pages read so far
let more = false;
let reading = null;
let stuck = null; // why the next page did not come, and how often; null where it may
let retry = 0;
let hearing = false; // whether the stream tells of every change
let known = null; // the jobs that were known when it last did: whatever is newer may have been missed
let turn = 0; // grows with each new question, so that late answers to an old one are left
const shown = new Map(); // id -> card
const farewells = new Map(); // id -> what closes the notice that it was deleted

const plain = (text) => text.replace(/\s+/g, " ").trim().toLowerCase();
const words = () => plain(search.value);
const fits = (job) => filter.fits(job) && plain(`${job.prompt ?? ""} ${job.model}`).includes(words());
const asking = () => ({ ...filter.query, search: search.value.trim(), limit: PAGE });

/** The ids of the cards, in the order in which they are seen. */
export const order = () => [...cards].map((made) => made.dataset.id);

/** Begins anew with the present search and filter; the answer tells whether they still are. */
export async function load() {
  turn += 1;
  edge = null;
  more = true;
  reading = null;
  unstick();
  for (const made of shown.values()) release(made);
  shown.clear();
  clear();
  wall.setAttribute("aria-busy", "true");
  empty.hidden = true;
  const [mine, asked] = [turn, now()];
  told();
  const open = filter === FILTERS[0] ? api.jobs({ ...asking(), status: "open", limit: 200 }).catch(() => null) : null;
  await nextPage();
  const old = await open;
  if (mine === turn) for (const job of old?.data ?? []) put(job, { asked });
  if (mine === turn) wall.removeAttribute("aria-busy");
  return mine === turn;
}

/** Reads the next page, if there is one. */
export function nextPage() {
  if (!more) return Promise.resolve();
  if (!reading) {
    const mine = readPage(turn).finally(() => {
      if (reading === mine) reading = null;
    });
    reading = mine;
  }
  return reading;
}

async function readPage(mine) {
  try {
    const asked = now();
    const page = await api.jobs({ ...asking(), after: edge?.id });
    if (mine !== turn) return;
    for (const job of page.data) known?.add(job.id); // what it missed is newer than the first of these
    edge = page.data.at(-1) ?? edge;
    more = page.has_more;
    for (const job of page.data) put(job, { quiet: true, asked });
    const here = (job) => jobs.get(job.id) ?? (filter.query.status === "deleted" ? job : null);
    hangAll(page.data.filter(here).map((job) => shown.get(job.id) ?? added(here(job))));
    for (const made of all(".card.early", wall)) place(made); // their turn may have come
    unstick();
  } catch (trouble) {
    if (mine !== turn) return;
    stuck = { words: inOneLine(trouble), times: (stuck?.times ?? 0) + 1 };
    if (stuck.times === 1) say(stuck.words);
    clearTimeout(retry);
    retry = setTimeout(fillUp, AGAIN[Math.min(stuck.times, AGAIN.length) - 1]);
  }
  told();
}

function unstick() {
  clearTimeout(retry);
  stuck = null;
}

function added(job) {
  const made = card(job, deeds);
  shown.set(job.id, made);
  return made;
}

/**
 * Puts a card where it belongs: before the first that is older. What is older than all that was read so far, but of
 * interest now, is early: it stands before the others until their page is read.
 */
function place(made) {
  const { job } = made;
  const early = more && (!edge || byAge(edge, job) < 0);
  made.classList.toggle("early", early);
  const older = (one) => one !== made && (early ? !isEarly(one) || byAge(job, one.job) < 0 : !isEarly(one) && byAge(job, one.job) < 0);
  const last = cards[cards.length - 1];
  let next = last && !early && !isEarly(last) && byAge(last.job, job) < 0 ? null : cards[0] ?? null;
  while (next && !older(next)) next = nextOf(next);
  while (!early && next && isEarly(beforeOf(next))) next = beforeOf(next); // the newest is above all
  hang(made, next);
}

const isEarly = (made) => made?.classList.contains("early") === true;

function hear(job) {
  farewells.get(job.id)?.(); // it is back, or was never gone
  farewells.delete(job.id);
  const made = shown.get(job.id);
  if (made) update(made, job);
  else if (fits(job)) place(added(job));
  told();
}

function leave(id) {
  const made = shown.get(id);
  if (!made) return;
  const beside = nextOf(made) ?? beforeOf(made);
  if (made.contains(document.activeElement)) beside ? focusOn(beside) : find("#made").focus();
  release(made);
  takeDown(made);
  shown.delete(id);
  told();
}

/** Brings what was just begun into sight, or says that the filter or the search leaves it out. */
export function present(begun) {
  if (!begun.length) return;
  const made = shown.get(begun[0].id);
  if (!made) notice("Begun. What is shown here now leaves it out.", { back: showAll, label: "Show all" });
  else if (made.getBoundingClientRect().top < 64) find("#made").scrollIntoView();
  else bring(find("#made"));
}

function showAll() {
  search.value = "";
  choose(FILTERS[0]);
  find("#filters button").focus(); // what was pressed goes with what it stood in
}

/** Takes a job out of sight; it can be brought back for an hour, and its notice offers that. */
export async function remove(job) {
  drop(job.id, Infinity);
  const gone = api.remove(job.id).then(() => drop(job.id), (trouble) => {
    drop(job.id);
    if (trouble.status !== 404) put(job);
    throw trouble;
  });
  farewells.set(job.id, notice(`Deleted: ${titleOf(job)}`, { back: () => undo(job, gone) }));
  await gone.catch((trouble) => notice(inOneLine(trouble), { trouble: true }));
}

/** Undoes a deletion, once that is done: whoever changes their mind is quicker than the gateway. */
async function undo(job, gone) {
  try {
    await gone.catch(() => null);
    put(await api.restore(job.id));
    if (shown.has(job.id)) focusOn(shown.get(job.id));
  } catch (trouble) {
    notice(inOneLine(trouble), { trouble: true });
  }
}

/** From now on jobs may come and go unheard, until it hears again and has caught up. */
export function deaf() {
  hearing = false;
  known ??= new Set(jobs.keys());
}

/** From now on the stream tells of every change. */
export function hears() {
  hearing = true;
}

/**
 * Compares what is under way with the gateway. After it was deaf, reads all that came and went meanwhile as well; begins
 * anew where that is too much.
 */
export async function catchUp() {
  const [asked, before] = [now(), known];
  known = hearing ? null : new Set(jobs.keys()); // while it is deaf, what comes after this is missed again
  try {
    const newest = (page) => page.some((job) => before.has(job.id)) || (edge === null && more); // the rest comes as one scrolls
    const [open, recent, deleted] = await Promise.all([
      pages({ limit: OPEN, status: "open" }, () => false),
      before && pages({ limit: PAGE }, newest),
      before && api.jobs({ limit: OPEN, status: "deleted" }),
    ]);
    if (!open || (before && (!recent || deleted.has_more))) return await load();
    for (const job of deleted?.data ?? []) put(job, { asked });
    const fresh = [...open.data, ...(recent?.data ?? [])];
    const seen = new Set(fresh.map((job) => job.id));
    const last = recent?.more ? recent.data.at(-1) : null;
    const expected = (job) => standing(job) === "open" || (recent && (!last || byAge(job, last) < 0)); // it ended, or was deleted
    const missing = [...jobs.values()].filter((job) => !seen.has(job.id) && expected(job)).slice(0, MOST);
    for (const job of fresh) put(job, { asked });
    await Promise.all(missing.map(({ id }) => api.job(id).then((job) => put(job, { asked }), (trouble) => trouble.status === 404 && drop(id))));
  } catch (trouble) {
    known = before ?? known;
    throw trouble;
  }
  if (stuck) fillUp();
  return undefined;
}

/** Pages of jobs until one is enough or there are no more: `{ data, more }`; null where they are too many. */
async function pages(query, enough) {
  const data = [];
  for (let turns = 0; turns < MOST; turns += 1) {
    const page = await api.jobs({ ...query, after: data.at(-1)?.id });
    data.push(...page.data);
    if (!page.has_more || enough(page.data)) return { data, more: page.has_more };
  }
  return null;
}

// -- what is told about the whole -------------------------------------------------------------------------------------

const told = settled(() => {
  const open = [...jobs.values()].filter((job) => standing(job) === "open").length;
  const doubts = [...jobs.values()].filter((job) => standing(job) === "doubt").length;
  retext(find("#filters [data-name='Under way'] span"), open + doubts ? `Under way ${number(open + doubts)}` : "Under way");
  document.title = open ? `(${open}) hfmedia studio` : "hfmedia studio";
  if (stuck) {
    if (find("span", ending)?.textContent !== stuck.words) ending.replaceChildren(el("span", { text: stuck.words }), button("Try again", tryAgain, { kind: "plain" }));
  } else retext(ending, reading && !cards.length ? "Reading…" : cards.length && more ? "More…" : "");
  ending.setAttribute("aria-hidden", String(!stuck));
  const none = cards.length === 0 && !more && !reading;
  if (none) empty.replaceChildren(...nothing());
  empty.hidden = !none;
}, 30);

function nothing() {
  if (words()) return [el("h3", { text: "Nothing found" }), el("p", { text: "No prompt and no model here holds these words." }), button("Show all", showAll, { kind: "plain" })];
  if (filter !== FILTERS[0]) return [el("h3", { text: `${filter.name}: nothing here` }), el("p", { text: filter.query.status === "deleted" ? "What was deleted can be brought back here for an hour." : filter.none ?? "What fits will appear here by itself." })];
  const ideas = ["A red fox in fresh snow, soft morning light", "A lighthouse in a storm, oil painting", "A tiny robot watering a bonsai, macro photo"];
  return [
    el("h3", { text: "Your pictures will gather here" }),
    el("p", { text: "Say what you want to see and press Make. Or begin with one of these:" }),
    el("div", { class: "ideas" }, ...ideas.map((idea) => button(idea, () => deeds.idea(idea), { kind: "plain" }))),
  ];
}

function choose(wanted) {
  filter = wanted;
  for (const chip of all("#filters button")) chip.setAttribute("aria-pressed", String(chip.dataset.name === wanted.name));
  load().then((mine) => mine && !stuck && say(more ? `${number(cards.length)} results and more` : plural(cards.length, "result")));
}

/** Makes the gallery ready; `given` are the deeds of its cards. */
export function begin(given) {
  deeds = given;
  find("#filters").append(...FILTERS.map((one) => {
    const chip = button(one.name, () => choose(one), { kind: "chip" });
    chip.dataset.name = one.name;
    chip.setAttribute("aria-pressed", String(one === filter));
    return chip;
  }));
  search.addEventListener("input", settled(() => choose(filter), 300));
  new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && fillUp(), { rootMargin: "1200px" }).observe(ending);
  onChange(hear);
  onDrop(leave);
  setInterval(() => {
    for (const made of all(".card[data-state='open']", wall)) tick(made);
  }, 1000);
  let beats = 0;
  setInterval(() => {
    beats += 1;
    if (document.hidden && beats % SELDOM) return;
    const open = [...jobs.values()].some((job) => standing(job) === "open");
    if (open || (known && !document.hidden)) catchUp().catch(() => {}); // when nobody answers, the stream says so
  }, DOUBTED);
}

function tryAgain() {
  find("#made").focus({ preventScroll: true }); // the button goes once there is nothing to try
  return fillUp();
}

async function fillUp() {
  const mine = turn;
  do await nextPage(); while (mine === turn && more && !stuck && ending.getBoundingClientRect().top < innerHeight + 1200);
}
