// What was spent, and how the providers are. What nobody told is told as that.

import { api, clock } from "./api.js";
import { button, closeBeside, el, find, retext } from "./dom.js";
import { elapsed, inOneLine, moment, number, plural, sums } from "./format.js";

const dialog = find("#overview");

const SOON = 400; // milliseconds after something ended
const DAY = 86_400_000; // milliseconds
const SPARED = 20; // times what the last reading took: it reads the whole month, and many jobs may end one after the other
let due = 0;
let free = 0;
let midnight = 0;

/** Asks anew for the line in the page's head, a while after something ended. */
export function refresh() {
  due ||= setTimeout(headline, Math.max(SOON, free - performance.now()));
}

async function headline() {
  due = 0;
  const began = performance.now();
  try {
    const usage = await api.usage();
    const sum = sums(usage.today.told);
    const unknown = usage.today.unknown ? `${number(usage.today.unknown)} unknown` : "";
    retext(find("#spent"), ["Today", [sum, unknown].filter(Boolean).join(" + ") || (usage.today.jobs ? "nothing spent" : "nothing yet")].join(": "));
    clearTimeout(midnight);
    midnight = setTimeout(refresh, Math.min(usage.day_resets_at * 1000 - clock() + 1000, DAY));
  } catch {
    retext(find("#spent"), "Costs"); // the panel says why when it is opened
  }
  free = performance.now() + SPARED * (performance.now() - began);
}

function costs(title, told, resets) {
  const rows = [
    ["Made or begun", plural(told.jobs, "job")],
    ["Told by providers", told.known ? `${sums(told.told)} for ${plural(told.known, "job")}` : "nothing yet"],
    ["Unknown", told.unknown ? `${plural(told.unknown, "job")} may be billed, and nobody told the price` : "none"],
    ["Free", plural(told.free, "job")],
    ["Begins anew", moment(resets)],
  ];
  return el("section", {}, el("h3", { text: title }), el("dl", {}, ...rows.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: value })])));
}

function limits({ limits: of, images_today: images, videos_today: videos, usd_month: usd }) {
  const rows = [
    of.usd_per_month !== null && ["This month", `${number(usd)} of ${number(of.usd_per_month)} USD`],
    of.images_per_day !== null && ["Images today", `${number(images)} of ${number(of.images_per_day)}`],
    of.videos_per_day !== null && ["Videos today", `${number(videos)} of ${number(of.videos_per_day)}`],
    of.requests_per_minute !== null && ["Pace", `${plural(of.requests_per_minute, "request")} a minute`],
    of.models.length > 0 && ["Models", of.models.join(", ")],
  ].filter(Boolean);
  return rows.length > 0 && el("section", {}, el("h3", { text: "Your limits" }), el("dl", {}, ...rows.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: value })])));
}

function provider(one) {
  const resting = one.resting > 0;
  return el("li", { class: resting ? "resting" : "" },
    el("p", {}, el("strong", { text: one.name }), el("span", { class: "state", text: resting ? `Resting, asked last for another ${elapsed(one.resting)}` : "Ready" })),
    one.reason && el("p", { class: "hint", text: `${moment(one.reason_at)}: ${one.reason}` }));
}

async function show() {
  const body = el("div", { class: "inside", tabindex: "0", role: "group", "aria-label": "Costs and providers", "aria-busy": "true" }, el("p", { class: "hint", text: "Reading…" }));
  const again = button("Read again", draw, { kind: "quiet" });
  dialog.replaceChildren(el("div", { class: "sheet-head" }, el("h2", { id: "overview-title", text: "Costs and providers" }), again, button("", () => dialog.close(), { kind: "quiet round", drawn: "close", label: "Close" })), body);
  dialog.showModal();
  await draw();

  async function draw() {
    try {
      const [usage, { data }] = await Promise.all([api.usage(), api.providers()]);
      data.sort((one, other) => other.resting - one.resting);
      body.replaceChildren(...[
        costs("Today", usage.today, usage.day_resets_at),
        costs("This month", usage.month, usage.month_resets_at),
        limits(usage),
        el("section", {}, el("h3", { text: "Providers" }), el("p", { class: "hint", text: "One that fails rests for a while: the others are asked first." }), el("ul", { class: "providers" }, ...data.map(provider))),
      ].filter(Boolean));
    } catch (trouble) {
      body.replaceChildren(el("p", { class: "trouble", role: "alert", text: inOneLine(trouble) }));
    }
    body.removeAttribute("aria-busy");
  }
}

/** Makes the panel ready. */
export function begin() {
  find("#open-overview").addEventListener("click", show);
  closeBeside(dialog);
  refresh();
}
