// Everything that was and is being made, newest first. Pages of 50 come as one scrolls; what is out of sight is not drawn.

import { api } from "./api.js";
import { card, tick, update } from "./cards.js";
import { all, button, el, find, retext, settled } from "./dom.js";
import { notice, say } from "./say.js";
import { drop, jobs, onChange, put, standing } from "./state.js";
import { titleOf } from "./wish.js";
import { inOneLine, number, plural } from "./words.js";

const PAGE = 50;
const DOUBTED = 15_000; // milliseconds after which open cards are compared with the gateway, should an event be lost
const grid = find("#grid");
const ending = find("#ending");
const empty = find("#empty");
const search = find("#search");
const FILTERS = [
  { name: "All", fits: () => true, query: {} },
  { name: "Under way", fits: (job) => ["open", "doubt"].includes(standing(job)), query: { status: "open" } },
  { name: "Images", fits: (job) => job.task.endsWith("image"), query: { kind: "image" } },
  { name: "Videos", fits: (job) => job.task.endsWith("video"), query: { kind: "video" } },
  { name: "Failed", fits: (job) => standing(job) === "failed", query: { status: "failed" } },
];
let filter = FILTERS[0];
let deeds = {};
let after = null; // the last job of the pages read so far
let more = false;
let reading = null;
let turn = 0; // grows with each new question, so that late answers to an old one are left
const shown = new Map(); // id -> card

const words = () => search.value.trim().toLowerCase();
const fits = (job) => filter.fits(job) && `${job.prompt ?? ""} ${job.model}`.toLowerCase().includes(words());
const asking = () => ({ ...filter.query, search: search.value.trim(), limit: PAGE });

/** The ids of the cards, in the order in which they are seen. */
export const order = () => [...grid.children].map((made) => made.dataset.id);

/** Begins anew with the present search and filter. */
export async function load() {
  turn += 1;
  after = null;
  more = true;
  reading = null;
  shown.clear();
  grid.replaceChildren();
  grid.setAttribute("aria-busy", "true");
  empty.hidden = true;
  const mine = turn;
  const open = filter === FILTERS[0] ? api.jobs({ ...asking(), status: "open", limit: 200 }).catch(() => ({ data: [] })) : null;
  const page = nextPage();
  if (open) {
    const { data } = await open;
    if (mine === turn) for (const job of [...data].reverse()) put(job);
  }
  await page;
  if (mine === turn) grid.removeAttribute("aria-busy");
}

/** Reads the next page, if there is one. */
export function nextPage() {
  if (!more) return Promise.resolve();
  reading ??= readPage(turn).finally(() => { reading = null; });
  return reading;
}

async function readPage(mine) {
  try {
    const page = await api.jobs({ ...asking(), after });
    if (mine !== turn) return;
    after = page.last_id;
    more = page.has_more;
    const made = [];
    for (const job of page.data) {
      put(job, { quiet: true });
      if (!shown.has(job.id)) made.push(added(jobs.get(job.id)));
    }
    grid.append(...made);
  } catch (trouble) {
    if (mine !== turn) return;
    more = false;
    notice(inOneLine(trouble), { back: load, label: "Try again", trouble: true });
  }
  told();
}

function added(job) {
  const made = card(job, deeds);
  shown.set(job.id, made);
  return made;
}

/** Where a job belongs among the cards: before the first that is older. */
function insert(job) {
  const made = added(job);
  let older = grid.firstElementChild;
  while (older && older.job.created_at > job.created_at) older = older.nextElementSibling;
  if (older || !more) grid.insertBefore(made, older);
  else grid.prepend(made); // older than all that is read so far, but of interest now
}

function hear(job) {
  const made = shown.get(job.id);
  if (made) update(made, job);
  else if (fits(job) && job.deleted_at === null) insert(job);
  told();
}

/** Takes a job out of sight; it can be brought back for an hour, and its notice offers that. */
export async function remove(job) {
  const made = shown.get(job.id);
  const beside = made?.nextElementSibling ?? made?.previousElementSibling;
  if (made?.contains(document.activeElement)) (find("button", beside ?? document) ?? search).focus();
  made?.remove();
  shown.delete(job.id);
  drop(job.id);
  told();
  const gone = api.remove(job.id);
  notice(`Deleted: ${titleOf(job)}`, { back: () => bring(job, gone) });
  try {
    await gone;
  } catch (trouble) {
    if (trouble.status !== 404) put(job);
    notice(inOneLine(trouble), { trouble: true });
  }
}

/** Undoes a deletion, once that is done: whoever changes their mind is quicker than the gateway. */
async function bring(job, gone) {
  try {
    await gone.catch(() => null);
    put(await api.restore(job.id));
    find("button", shown.get(job.id))?.focus();
  } catch (trouble) {
    notice(inOneLine(trouble), { trouble: true });
  }
}

/** Reads again what may have been missed while nobody listened. */
export async function catchUp() {
  const known = [...jobs.values()].filter((job) => standing(job) === "open").map((job) => job.id);
  const [recent, open] = await Promise.all([api.jobs({ limit: PAGE }), api.jobs({ limit: 200, status: "open" })]);
  const fresh = [...open.data, ...recent.data];
  const seen = new Set(fresh.map((job) => job.id));
  const rest = known.filter((id) => !seen.has(id));
  fresh.push(...(await Promise.all(rest.map((id) => api.job(id).catch(() => null)))).filter(Boolean));
  for (const job of fresh.sort((one, other) => one.created_at - other.created_at)) put(job);
}

// -- what is told about the whole -------------------------------------------------------------------------------------

const told = settled(() => {
  const open = [...jobs.values()].filter((job) => standing(job) === "open").length;
  const doubts = [...jobs.values()].filter((job) => standing(job) === "doubt").length;
  retext(find("#filters [data-name='Under way'] span"), open + doubts ? `Under way ${number(open + doubts)}` : "Under way");
  document.title = open ? `(${open}) hfmedia studio` : "hfmedia studio";
  retext(ending, grid.childElementCount && more ? "More…" : "");
  const none = grid.childElementCount === 0 && !more && !reading;
  if (none) empty.replaceChildren(...nothing());
  empty.hidden = !none;
}, 30);

function nothing() {
  if (words()) return [el("h3", { text: "Nothing found" }), el("p", { text: "No prompt and no model here holds these words." }), button("Show all", () => { search.value = ""; choose(FILTERS[0]); }, { kind: "plain" })];
  if (filter !== FILTERS[0]) return [el("h3", { text: `${filter.name}: nothing here` }), el("p", { text: "What fits will appear here by itself." })];
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
  load().then(() => say(plural(grid.childElementCount, "result")));
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
  setInterval(() => {
    for (const made of all(".card[data-state='open']", grid)) tick(made, Date.now());
  }, 1000);
  setInterval(() => {
    const open = !document.hidden && [...jobs.values()].some((job) => standing(job) === "open");
    if (open) catchUp().catch(() => {}); // when nobody answers, the stream says so
  }, DOUBTED);
}

async function fillUp() {
  const mine = turn;
  do await nextPage(); while (mine === turn && more && ending.getBoundingClientRect().top < innerHeight + 1200);
}
