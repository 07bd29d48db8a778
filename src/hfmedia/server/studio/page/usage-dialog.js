// The usage dialog: costs, limits, and the status of the providers. Unreported costs are shown as unknown, never as zero.

import { api, serverNow } from "./api.js";
import { button, closeOnBackdropClick, el, find, setText } from "./dom.js";
import { errorText } from "./error-messages.js";
import { formatAmounts, formatDateTime, formatElapsed, formatNumber, plural, unitNote } from "./format.js";

const dialog = find("#usage-dialog");
const summary = find("#usage-summary");
const MIN_DELAY = 400; // milliseconds after a job has ended
const DAY = 86_400_000; // milliseconds
const COST_FACTOR = 20; // times the duration of the last request: it reads a whole month, and many jobs may end in a row
let refreshTimer = 0;
let nextAllowed = 0;
let midnightTimer = 0;

/** Refreshes the summary in the page's header, shortly after a job has ended. */
export function refresh() {
  refreshTimer ||= setTimeout(updateSummary, Math.max(MIN_DELAY, nextAllowed - performance.now()));
}

async function updateSummary() {
  refreshTimer = 0;
  const startedAt = performance.now();
  try {
    const { today, dayResetsAt } = await api.usage();
    const unknown = today.unknown ? `${formatNumber(today.unknown)} unknown` : "";
    const text = [formatAmounts(today.amounts), unknown].filter(Boolean).join(" + ");
    setText(summary, `Today: ${text || (today.jobs ? "nothing spent" : "no jobs")}`);
    clearTimeout(midnightTimer);
    midnightTimer = setTimeout(refresh, Math.min(dayResetsAt * 1000 - serverNow() + 1000, DAY));
  } catch {
    setText(summary, "Usage"); // the dialog says why
  }
  nextAllowed = performance.now() + COST_FACTOR * (performance.now() - startedAt);
}

const section = (title, rows) => el("section", {}, el("h3", { text: title }), el("dl", {}, ...rows.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: value })])));

function costs(title, period, resetsAt) {
  const notes = Object.keys(period.amounts).some(unitNote) ? " (a provider's own units have no price in USD)" : "";
  return section(title, [
    ["Jobs", formatNumber(period.jobs)],
    ["Reported cost", period.reported ? `${formatAmounts(period.amounts)} for ${plural(period.reported, "job")}${notes}` : "none yet"],
    ["Unknown cost", period.unknown ? `${plural(period.unknown, "job")} may be billed; the provider reported no price` : "none"],
    ["Free", plural(period.free, "job")],
    ["Resets", formatDateTime(resetsAt)],
  ]);
}

function limits({ limits: key, imagesToday, videosToday, usdThisMonth }) {
  const rows = [
    key.usdPerMonth !== null && ["This month", `${formatNumber(usdThisMonth)} of ${formatNumber(key.usdPerMonth)} USD`],
    key.imagesPerDay !== null && ["Images today", `${formatNumber(imagesToday)} of ${formatNumber(key.imagesPerDay)}`],
    key.videosPerDay !== null && ["Videos today", `${formatNumber(videosToday)} of ${formatNumber(key.videosPerDay)}`],
    key.requestsPerMinute !== null && ["Rate limit", `${plural(key.requestsPerMinute, "request")} per minute`],
    key.models.length > 0 && ["Models", key.models.join(", ")],
  ].filter(Boolean);
  return rows.length > 0 && section("Your limits", rows);
}

function providerItem({ name, cooldownSeconds, reason, reasonAt }) {
  const coolingDown = cooldownSeconds > 0;
  const status = coolingDown ? `Cooling down: tried last for another ${formatElapsed(cooldownSeconds)}` : "Ready";
  return el("li", { class: coolingDown ? "cooling-down" : "" },
    el("p", {}, el("strong", { text: name }), el("span", { class: "provider-status", text: status })),
    reason && el("p", { class: "hint", text: `${formatDateTime(reasonAt)}: ${reason}` }));
}

async function show() {
  const body = el("div", { class: "sheet-body", tabindex: "0", role: "group", "aria-label": "Usage and providers", "aria-busy": "true" }, el("p", { class: "hint", text: "Loading…" }));
  const reload = button("Refresh", load, { style: "ghost" });
  dialog.replaceChildren(el("div", { class: "sheet-head" }, el("h2", { id: "usage-title", text: "Usage and providers" }), reload, button("", () => dialog.close(), { style: "ghost icon-button", iconName: "close", label: "Close" })), body);
  dialog.showModal();
  await load();

  async function load() {
    try {
      const [usage, providers] = await Promise.all([api.usage(), api.providers()]);
      providers.sort((one, other) => other.cooldownSeconds - one.cooldownSeconds);
      body.replaceChildren(...[
        costs("Today", usage.today, usage.dayResetsAt),
        costs("This month", usage.month, usage.monthResetsAt),
        limits(usage),
        el("section", {}, el("h3", { text: "Providers" }), el("p", { class: "hint", text: "A provider that fails cools down for a while: the others are tried first." }), el("ul", { class: "providers" }, ...providers.map(providerItem))),
      ].filter(Boolean));
    } catch (error) {
      body.replaceChildren(el("p", { class: "error", role: "alert", text: errorText(error) }));
    }
    body.removeAttribute("aria-busy");
  }
}

/** Initializes the dialog and the summary. */
export function init() {
  find("#open-usage").addEventListener("click", show);
  closeOnBackdropClick(dialog);
  refresh();
}
