// The gallery: all jobs, newest first, loaded in pages as the user scrolls.

import { api } from "./api.js";
import { all, button, debounce, el, find, scrollIntoView, setText, unloadVideos } from "./dom.js";
import { errorText } from "./error-messages.js";
import { failoverText, formatNumber, plural } from "./format.js";
import * as grid from "./grid.js";
import { createCard, focusCard, update, updateClock } from "./job-card.js";
import { compareNewestFirst, isVideo, jobs, now, onChange, onRemove, remove, upsert } from "./job-store.js";
import { announce, toast } from "./notifications.js";
import { titleOf } from "./request.js";

const PAGE_SIZE = 60;
const MAX_OPEN_JOBS = 200; // open or deleted jobs read at once
const MAX_RESYNC = 20; // pages, and single jobs, read to resync; beyond that the gallery is reloaded
const POLL_INTERVAL = 15_000; // milliseconds after which open jobs are compared with the gateway, should an event be lost
const HIDDEN_POLL_FACTOR = 4; // times that while the page is hidden
const RETRY_DELAYS = [2000, 5000, 15_000, 60_000]; // milliseconds after which a page that failed is requested again
const PRELOAD_MARGIN = 1200; // pixels below the screen within which the next page is loaded
const HEADER_HEIGHT = 64; // pixels that the sticky header covers
const SEARCH_DELAY = 300; // milliseconds after the last key
const SUMMARY_DELAY = 30; // milliseconds in which several changes are combined
const SUGGESTIONS = ["A red fox in fresh snow, soft morning light", "A lighthouse in a storm, oil painting", "A tiny robot watering a bonsai, macro photo"];
const FILTERS = [
  { name: "All", matches: () => true, query: {} },
  { name: "Running", matches: (job) => ["open", "in_doubt"].includes(job.status), query: { status: "open" } },
  { name: "Images", matches: (job) => !isVideo(job), query: { kind: "image" } },
  { name: "Videos", matches: isVideo, query: { kind: "video" } },
  { name: "Failed", matches: (job) => job.status === "failed", query: { status: "failed" }, hint: "Nothing failed." },
  { name: "Deleted", matches: () => false, query: { status: "deleted" }, hint: "Deleted jobs can be restored here for one hour." },
];
const gridElement = find("#grid");
const end = find("#gallery-end");
const empty = find("#empty");
const search = find("#search");
let filter = FILTERS[0];
let actions = {};
let onStatusChanged = () => {};
let lastLoaded = null; // the last job of the pages loaded so far
let hasMore = false;
let loadingPage = null;
let failure = null; // why the next page failed to load, and how often; null if it did not
let retryTimer = 0;
let connected = false; // whether the event stream reports every change
let knownBefore = null; // the jobs known when it last did: newer ones may have been missed
let turn = 0; // grows with each new query: late responses to an earlier one are ignored
const cardsById = new Map();
const deletionToasts = new Map(); // id -> closes the toast about its deletion

const normalize = (text) => text.replace(/\s+/g, " ").trim().toLowerCase();
const searchTerm = () => normalize(search.value);
const isShown = (job) => filter.matches(job) && normalize(`${job.prompt ?? ""} ${job.model}`).includes(searchTerm());
const query = () => ({ ...filter.query, search: search.value.trim(), limit: PAGE_SIZE });

/** The ids of the cards in display order. */
export const displayOrder = () => [...grid.cards].map((card) => card.dataset.id);

// -- pages ------------------------------------------------------------------------------------------------------------

/** Reloads the gallery with the current search and filter; resolves with whether they are still current. */
export async function load() {
  turn += 1;
  lastLoaded = null;
  hasMore = true;
  loadingPage = null;
  clearFailure();
  for (const card of cardsById.values()) unloadVideos(card);
  cardsById.clear();
  grid.clear();
  gridElement.setAttribute("aria-busy", "true");
  empty.hidden = true;
  const [current, requestedAt] = [turn, now()];
  updateSummary();
  const open = filter === FILTERS[0] ? api.jobs({ ...query(), status: "open", limit: MAX_OPEN_JOBS }).catch(() => null) : null;
  await loadNextPage();
  const openPage = await open;
  if (current === turn) for (const job of openPage?.jobs ?? []) upsert(job, { requestedAt });
  if (current === turn) gridElement.removeAttribute("aria-busy");
  return current === turn;
}

/** Loads the next page, if there is one. */
export function loadNextPage() {
  if (!hasMore) return Promise.resolve();
  if (!loadingPage) {
    const page = loadPage(turn).finally(() => {
      if (loadingPage === page) loadingPage = null;
    });
    loadingPage = page;
  }
  return loadingPage;
}

async function loadPage(current) {
  try {
    const requestedAt = now();
    const page = await api.jobs({ ...query(), after: lastLoaded?.id });
    if (current !== turn) return;
    for (const job of page.jobs) knownBefore?.add(job.id); // what was missed is newer than the first of these
    lastLoaded = page.jobs.at(-1) ?? lastLoaded;
    hasMore = page.hasMore;
    for (const job of page.jobs) upsert(job, { quiet: true, requestedAt });
    const latest = (job) => jobs.get(job.id) ?? (filter.query.status === "deleted" ? job : null);
    grid.appendAll(page.jobs.filter(latest).map((job) => cardsById.get(job.id) ?? addCard(latest(job))));
    for (const card of all(".card.pinned", gridElement)) placeCard(card); // their page may be loaded now
    clearFailure();
  } catch (error) {
    if (current !== turn) return;
    failure = { text: errorText(error), count: (failure?.count ?? 0) + 1 };
    if (failure.count === 1) announce(failure.text);
    clearTimeout(retryTimer);
    retryTimer = setTimeout(fillScreen, RETRY_DELAYS[Math.min(failure.count, RETRY_DELAYS.length) - 1]);
  }
  updateSummary();
}

function clearFailure() {
  clearTimeout(retryTimer);
  failure = null;
}

/** Loads pages until the screen is filled. */
async function fillScreen() {
  const current = turn;
  do await loadNextPage(); while (current === turn && hasMore && !failure && end.getBoundingClientRect().top < innerHeight + PRELOAD_MARGIN);
}

function retry() {
  find("#gallery").focus({ preventScroll: true }); // the button disappears once the page is loaded
  return fillScreen();
}

// -- cards ------------------------------------------------------------------------------------------------------------

function addCard(job) {
  const card = createCard(job, actions);
  cardsById.set(job.id, card);
  return card;
}

const isPinned = (card) => card?.classList.contains("pinned") === true;

/**
 * Puts a card before the first older one. A job older than the pages loaded so far that is of interest now is pinned:
 * it comes before the others until its page is loaded.
 */
function placeCard(card) {
  const { job } = card;
  const pinned = hasMore && (!lastLoaded || compareNewestFirst(lastLoaded, job) < 0);
  card.classList.toggle("pinned", pinned);
  const comesAfter = (other) => other !== card && (pinned ? !isPinned(other) || compareNewestFirst(job, other.job) < 0 : !isPinned(other) && compareNewestFirst(job, other.job) < 0);
  const last = grid.cards[grid.cards.length - 1];
  let next = last && !pinned && !isPinned(last) && compareNewestFirst(last.job, job) < 0 ? null : grid.cards[0] ?? null;
  while (next && !comesAfter(next)) next = grid.nextCard(next);
  while (!pinned && next && isPinned(grid.previousCard(next))) next = grid.previousCard(next); // the newest comes before all
  grid.insert(card, next);
}

function onJobChanged(job, before) {
  if (before) announceChange(job, before);
  deletionToasts.get(job.id)?.(); // it was restored, or its deletion failed
  deletionToasts.delete(job.id);
  const card = cardsById.get(job.id);
  if (card) update(card, job);
  else if (isShown(job)) placeCard(addCard(job));
  updateSummary();
}

function onJobRemoved(id) {
  const card = cardsById.get(id);
  if (!card) return;
  const neighbor = grid.nextCard(card) ?? grid.previousCard(card);
  if (card.contains(document.activeElement)) neighbor ? focusCard(neighbor) : find("#gallery").focus();
  unloadVideos(card);
  grid.remove(card);
  cardsById.delete(id);
  updateSummary();
}

/** Announces starts, ends and failovers, but not every percent of progress. */
function announceChange(job, before) {
  const name = `${isVideo(job) ? "Video" : "Image"} “${titleOf(job)}”`;
  if (job.status !== before.status) {
    announce(`${name} ${{ done: "is ready", failed: "failed", cancelled: "was canceled", in_doubt: "needs your decision", open: "is running" }[job.status]}.`);
    onStatusChanged();
  } else if (job.failovers.length > before.failovers.length) announce(`${name}: ${failoverText(job.failovers.at(-1))}`);
  else if (job.status === "open" && job.stage !== before.stage && job.stage === "running") announce(`${name} is running.`);
}

/** Scrolls to new jobs, or says that the filter or the search hides them. */
export function reveal(newJobs) {
  if (!newJobs.length) return;
  const card = cardsById.get(newJobs[0].id);
  if (!card) toast("Job created, but hidden by the current filter or search.", { action: showAll, label: "Show all" });
  else if (card.getBoundingClientRect().top < HEADER_HEIGHT) find("#gallery").scrollIntoView();
  else scrollIntoView(find("#gallery"));
}

// -- deletion ---------------------------------------------------------------------------------------------------------

/** Deletes a job; it can be restored for an hour, and a toast offers that. */
export async function deleteJob(job) {
  remove(job.id, Infinity);
  const deletion = api.remove(job.id).then(() => remove(job.id), (error) => {
    remove(job.id);
    if (error.status !== 404) upsert(job);
    throw error;
  });
  deletionToasts.set(job.id, toast(`Deleted: ${titleOf(job)}`, { action: () => undoDeletion(job, deletion) }));
  await deletion.catch((error) => toast(errorText(error), { error: true }));
}

/** Restores a job once its deletion is complete: a user may press Undo before the gateway responds. */
async function undoDeletion(job, deletion) {
  try {
    await deletion.catch(() => null);
    upsert(await api.restore(job.id));
    if (cardsById.has(job.id)) focusCard(cardsById.get(job.id));
  } catch (error) {
    toast(errorText(error), { error: true });
  }
}

// -- resync -----------------------------------------------------------------------------------------------------------

/** The event stream is down: jobs may change unnoticed until it is back and the gallery has been resynced. */
export function onDisconnected() {
  connected = false;
  knownBefore ??= new Set(jobs.keys());
}

/** The event stream reports every change from now on. */
export function onConnected() {
  connected = true;
}

/**
 * Compares the open jobs with the gateway. After a disconnect it also reads what was created and deleted meanwhile, and
 * reloads the gallery if that is too much.
 */
export async function resync() {
  const [requestedAt, before] = [now(), knownBefore];
  knownBefore = connected ? null : new Set(jobs.keys()); // while disconnected, later jobs are missed again
  try {
    const reachesKnown = (page) => page.some((job) => before.has(job.id)) || (lastLoaded === null && hasMore); // the rest is loaded on scrolling
    const [open, recent, deleted] = await Promise.all([
      readPages({ limit: MAX_OPEN_JOBS, status: "open" }, () => false),
      before && readPages({ limit: PAGE_SIZE }, reachesKnown),
      before && api.jobs({ limit: MAX_OPEN_JOBS, status: "deleted" }),
    ]);
    if (!open || (before && (!recent || deleted.hasMore))) return await load();
    for (const job of deleted?.jobs ?? []) upsert(job, { requestedAt });
    const fresh = [...open.jobs, ...(recent?.jobs ?? [])];
    const freshIds = new Set(fresh.map((job) => job.id));
    const last = recent?.hasMore ? recent.jobs.at(-1) : null;
    const isExpected = (job) => job.status === "open" || (recent && (!last || compareNewestFirst(job, last) < 0));
    const missing = [...jobs.values()].filter((job) => !freshIds.has(job.id) && isExpected(job)).slice(0, MAX_RESYNC); // ended or deleted
    for (const job of fresh) upsert(job, { requestedAt });
    await Promise.all(missing.map(({ id }) => api.job(id).then((job) => upsert(job, { requestedAt }), (error) => error.status === 404 && remove(id))));
  } catch (error) {
    knownBefore = before ?? knownBefore;
    throw error;
  }
  if (failure) fillScreen();
  return undefined;
}

/** Reads pages of jobs until one is enough or there are no more; null if there are too many. */
async function readPages(params, isEnough) {
  const result = [];
  for (let count = 0; count < MAX_RESYNC; count += 1) {
    const page = await api.jobs({ ...params, after: result.at(-1)?.id });
    result.push(...page.jobs);
    if (!page.hasMore || isEnough(page.jobs)) return { jobs: result, hasMore: page.hasMore };
  }
  return null;
}

// -- summary ----------------------------------------------------------------------------------------------------------

/** Updates the count of running jobs, the page title, the end of the list, and the empty state. */
const updateSummary = debounce(() => {
  const count = (status) => [...jobs.values()].filter((job) => job.status === status).length;
  const [open, inDoubt] = [count("open"), count("in_doubt")];
  setText(find("#filters [data-name='Running'] span"), open + inDoubt ? `Running ${formatNumber(open + inDoubt)}` : "Running");
  document.title = open ? `(${open}) hfmedia studio` : "hfmedia studio";
  if (failure) {
    if (find("span", end)?.textContent !== failure.text) end.replaceChildren(el("span", { text: failure.text }), button("Try again", retry, { style: "outlined" }));
  } else setText(end, loadingPage && !grid.cards.length ? "Loading…" : grid.cards.length && hasMore ? "Loading more…" : "");
  end.setAttribute("aria-hidden", String(!failure));
  const isEmpty = grid.cards.length === 0 && !hasMore && !loadingPage;
  if (isEmpty) empty.replaceChildren(...emptyState());
  empty.hidden = !isEmpty;
}, SUMMARY_DELAY);

function emptyState() {
  if (searchTerm()) return [el("h3", { text: "No results" }), el("p", { text: "No prompt or model here contains this text." }), button("Show all", showAll, { style: "outlined" })];
  if (filter !== FILTERS[0]) return [el("h3", { text: `${filter.name}: nothing here` }), el("p", { text: filter.hint ?? "Matching jobs will appear here automatically." })];
  return [
    el("h3", { text: "Your images and videos will appear here" }),
    el("p", { text: "Write a prompt and press Generate, or start with one of these:" }),
    el("div", { class: "suggestions" }, ...SUGGESTIONS.map((text) => button(text, () => actions.usePrompt(text), { style: "outlined" }))),
  ];
}

function setFilter(newFilter) {
  filter = newFilter;
  for (const chip of all("#filters button")) chip.setAttribute("aria-pressed", String(chip.dataset.name === newFilter.name));
  load().then((current) => current && !failure && announce(hasMore ? `${formatNumber(grid.cards.length)} results and more` : plural(grid.cards.length, "result")));
}

function showAll() {
  search.value = "";
  setFilter(FILTERS[0]);
  find("#filters button").focus(); // the pressed button disappears with its container
}

function poll(tick) {
  if (document.hidden && tick % HIDDEN_POLL_FACTOR) return;
  const hasOpen = [...jobs.values()].some((job) => job.status === "open");
  if (hasOpen || (knownBefore && !document.hidden)) resync().catch(() => {}); // the event stream reports that the gateway is gone
}

/** Initializes the gallery with the actions of its cards; `onStatus` is called when a job changes its status. */
export function init(cardActions, onStatus) {
  actions = cardActions;
  onStatusChanged = onStatus;
  find("#filters").append(...FILTERS.map((each) => {
    const chip = button(each.name, () => setFilter(each), { style: "chip" });
    chip.dataset.name = each.name;
    chip.setAttribute("aria-pressed", String(each === filter));
    return chip;
  }));
  search.addEventListener("input", debounce(() => setFilter(filter), SEARCH_DELAY));
  new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && fillScreen(), { rootMargin: `${PRELOAD_MARGIN}px` }).observe(end);
  onChange(onJobChanged);
  onRemove(onJobRemoved);
  setInterval(() => {
    for (const card of all(".card[data-status='open']", gridElement)) updateClock(card);
  }, 1000);
  let tick = 0;
  setInterval(() => poll(tick += 1), POLL_INTERVAL);
}
