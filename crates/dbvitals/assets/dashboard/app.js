// The page: puts its parts together, and says loudly when it is cut off from the agent.

import { Details } from "./details.js";
import { byId, el, say, show } from "./dom.js";
import { follow, reach } from "./feed.js";
import { happened, retell, troubles } from "./happened.js";
import * as list from "./list.js";
import * as services from "./services.js";
import { changed, now, store, watch, zoom } from "./store.js";
import { clockTime, lasting } from "./words.js";

const HOUR = 3600e3;
const RANGES = [["1 h", HOUR], ["6 h", 6 * HOUR], ["24 h", 24 * HOUR], ["7 d", 168 * HOUR], ["30 d", 720 * HOUR]];

const side = byId("side");
const search = byId("search");
let details = null;
let version = null;

/// Shows a server; its name is in the address, so that it can be passed on.
function open(name) {
  location.hash = `#/${encodeURIComponent(name)}`;
}

function close() {
  location.hash = "#";
}

function route(first) {
  let name = null;
  try {
    if (location.hash.startsWith("#/")) name = decodeURIComponent(location.hash.slice(2));
  } catch {
    // An address that somebody has mangled shows the whole.
  }
  details?.end();
  details = name === null ? null : new Details(name, close);
  store.view.selected = name;
  document.body.dataset.view = name === null ? "list" : "details";
  side.replaceChildren(...(details ? [details.element] : []));
  side.scrollTop = 0;
  if (name === null && !first) byId("list").focus({ preventScroll: true });
  tabs();
  changed("all", "list", "transitions");
  reach();
}

function tabs() {
  for (const tab of document.querySelectorAll(".tabs button")) {
    tab.setAttribute("aria-pressed", String(tab.dataset.shows === document.body.dataset.view));
  }
}

function renderSide(kinds) {
  if (details) details.update(kinds);
  else if (kinds.has("list") || kinds.has("transitions") || kinds.has("all")) renderHappened();
  if (kinds.has("tick")) retell(side);
}

function renderHappened() {
  // What somebody is about to press stays where it is focused.
  const focused = document.activeElement?.closest?.("#side article")?.dataset.name;
  const alarming = troubles(open);
  const calm = alarming.length === 1 && alarming[0].className === "calm";
  side.replaceChildren(el("h2", { text: calm ? "Now" : "What is wrong" }), ...alarming.filter(Boolean), el("h2", { text: "What happened" }), ...happened(null, open));
  if (focused) [...side.querySelectorAll("article")].find((it) => it.dataset.name === focused)?.querySelector("button")?.focus();
}

function renderLink() {
  const { state, since, why } = store.link;
  const link = byId("link");
  const words = { connecting: "connecting…", live: "live", cut: "cut off" };
  link.dataset.state = state;
  say(link, words[state]);
  document.body.classList.toggle("stale", state === "cut");
  show(byId("cut"), state === "cut");
  if (state === "cut") {
    say(byId("cut"), `Cut off from the agent since ${clockTime(since, now())} (${lasting(now() - since)}). `
      + `What you see is as of then, not as of now. Tried again all the time${why ? `: ${why}` : ""}.`);
  }
}

function renderAgent() {
  const { agent } = store;
  if (!agent) return;
  if (version !== null && agent.version !== version) location.reload();
  version = agent.version;
  say(byId("agent"), `${agent.name} · ${agent.version}`);
  document.title = title();
  const { vitals } = agent;
  if (!vitals) return;
  const rate = agent.probes_per_second;
  const figures = [
    ["probes", rate === undefined ? "…" : `${rate >= 10 ? Math.round(rate) : rate.toFixed(1)}/s`],
    ["loop lag", vitals.loop_lag_ms === null ? "–" : `${vitals.loop_lag_ms < 1 ? "< 1" : Math.round(vitals.loop_lag_ms)} ms`],
    ["files", vitals.descriptors === null ? "–" : `${vitals.descriptors}${vitals.descriptors_max ? ` of ${vitals.descriptors_max}` : ""}`],
    ["up for", lasting(now() - Date.parse(agent.started))],
  ];
  const place = byId("vitals");
  if (place.children.length === 0) place.append(...figures.map(([name]) => el("div", {}, el("dt", { text: name }), el("dd"))));
  figures.forEach(([, value], at) => say(place.children[at].lastChild, value));
}

/// A tab among others shows what is wrong too.
function title() {
  const down = [...store.backends.values()].filter((it) => it.verdict === "down").length;
  const name = store.agent?.name ?? "dbvitals";
  if (store.link.state === "cut") return `✗ cut off – ${name}`;
  return down > 0 ? `✗ ${down} down – ${name}` : `${name} – dbvitals`;
}

function renderRange() {
  const { span, end } = store.view;
  for (const button of byId("range").children) button.setAttribute("aria-pressed", String(end === null && Number(button.dataset.span) === span));
  reach();
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") return escape(event);
  if (event.target.closest("input, textarea, select, summary")) {
    if (event.target === search && (event.key === "Enter" || event.key === "ArrowDown")) {
      byId("list").focus();
      event.preventDefault();
    }
    return;
  }
  const { span, end } = store.view;
  const keys = {
    "/": () => search.focus(),
    "+": () => zoom(span / 2, end),
    "=": () => zoom(span / 2, end),
    "-": () => zoom(span * 2, end),
    0: () => zoom(HOUR),
    1: () => list.toggle(0),
    2: () => list.toggle(1),
    3: () => list.toggle(2),
    4: () => list.toggle(3),
  };
  if (!(event.key in keys)) return;
  keys[event.key]();
  event.preventDefault();
}

/// Leaves what is open: a search, a server, a filter.
function escape() {
  const { view } = store;
  if (view.selected !== null) return close();
  if (document.body.dataset.view === "side") document.body.dataset.view = "list";
  view.query = "";
  search.value = "";
  view.service = null;
  view.verdicts.clear();
  byId("list").focus();
  tabs();
  changed("list");
}

list.build(open);
services.build();
for (const [words, span] of RANGES) {
  byId("range").append(el("button", { type: "button", text: words, data: { span }, "aria-pressed": "false", on: { click: () => zoom(span) } }));
}
search.addEventListener("input", () => {
  store.view.query = search.value;
  changed("list");
});
for (const tab of document.querySelectorAll(".tabs button")) {
  tab.addEventListener("click", () => {
    if (store.view.selected !== null) close();
    document.body.dataset.view = tab.dataset.shows;
    tabs();
    changed("size", "all");
  });
}
window.addEventListener("hashchange", () => route(false));
window.addEventListener("keydown", press);
window.addEventListener("resize", () => changed("size", "all"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => changed("all", "list"));
watch("link tick", renderLink);
watch("agent tick list link", renderAgent);
watch("range", renderRange);
watch("list backends transitions range tick size all", renderSide);
setInterval(() => changed("tick"), 1000);
route(true);
renderRange();
follow();
