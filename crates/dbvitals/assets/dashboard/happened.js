// Beside the list while no server is chosen: what is wrong and what to do, and what happened.

import { el, say } from "./dom.js";
import { now, store } from "./store.js";
import { CLASSES, clockTime, known, lasting, sign, VERDICTS } from "./words.js";

/// Servers that are told of at length.
const TROUBLES_MAX = 5;
/// Transitions shown.
export const SHOWN_MAX = 60;

/// What is wrong now.
export function troubles(open) {
  const rank = (it) => VERDICTS.indexOf(known(it.verdict));
  const wrong = [...store.backends.values()].filter((it) => it.verdict === "down" || it.verdict === "degraded" || it.warning);
  wrong.sort((one, other) => rank(one) - rank(other) || other.since_ms - one.since_ms);
  const alarms = store.services.filter((it) => it.alarm).map((it) => el("article", { class: "trouble down" },
    el("h3", {}, sign("down"), el("span", { text: it.name }), el("small", { text: "service" })), el("p", { class: "detail", text: it.warning })));
  if (wrong.length + alarms.length === 0) return [el("p", { class: "calm" }, sign(store.backends.size > 0 ? "up" : "unknown"), el("span", { text: calm() }))];
  const cards = wrong.slice(0, TROUBLES_MAX).map((backend) => card(backend, open));
  const more = wrong.length - cards.length;
  return [...alarms, ...cards, more > 0 ? el("p", { class: "more", text: `and ${more} more, in the list` }) : null];
}

function calm() {
  const unknown = [...store.backends.values()].filter((it) => known(it.verdict) === "unknown").length;
  if (store.link.since === null) return "Asking the agent…";
  if (store.backends.size === 0) return "Nothing is watched.";
  return unknown > 0 ? `Nothing is known to be wrong; ${unknown} not known yet.` : "All is well.";
}

function card(backend, open) {
  const verdict = known(backend.verdict);
  const cause = backend.cause ? `${backend.cause} · ${backend.class}: ${CLASSES[backend.class] ?? ""}` : null;
  return el("article", { class: `trouble ${verdict}`, data: { name: backend.name } },
    el("h3", {}, sign(verdict),
      el("button", { type: "button", class: "name", text: backend.name, on: { click: () => open(backend.name) } }),
      el("small", {}, `${verdict} for `, el("time", { data: { since: backend.since_ms }, text: lasting(now() - backend.since_ms) }))),
    cause ? el("p", { class: "why", text: cause }) : null,
    el("p", { class: "detail", text: backend.detail ?? backend.warning ?? "" }),
    backend.remedy ? el("p", { class: "remedy" }, el("b", { text: "Do: " }), backend.remedy) : null,
    backend.warning && backend.detail ? el("p", { class: "detail", text: backend.warning }) : null);
}

/// What happened, newest first: of one backend, or of all.
export function happened(of, open) {
  const found = [];
  for (let place = store.transitions.length - 1; place >= 0 && found.length < SHOWN_MAX; place -= 1) {
    const transition = store.transitions[place];
    if (!of || transition.backend === of) found.push(transition);
  }
  if (found.length === 0) return [el("p", { class: "quiet", text: "No change since the agent started to keep them." })];
  // The same entries again, so that what somebody has opened stays open.
  const shown = new Map(found.map((it) => {
    const key = `${of ? "one" : "all"} ${it.id}`;
    return [key, entries.get(key) ?? entry(it, of ? null : open)];
  }));
  entries = shown;
  return [el("ol", { class: "happened" }, [...shown.values()])];
}

let entries = new Map();

/// Tells times anew: they grow, and what was today becomes a day of the past.
export function retell(place) {
  for (const time of place.querySelectorAll("time[data-since]")) say(time, lasting(now() - Number(time.dataset.since)));
  for (const time of place.querySelectorAll("time[data-at]")) say(time, clockTime(Number(time.dataset.at), now()));
}

function entry(transition, open) {
  const verdict = transition.change === "verdict" ? known(transition.to) : null;
  const what = transition.change === "verdict" ? transition.to : `${transition.change}: ${transition.to}`;
  const name = open ? el("button", { type: "button", class: "name", text: transition.backend, on: { click: () => open(transition.backend) } }) : null;
  const seen = [["held", transition.held], ["fresh", transition.fresh]].filter(([, word]) => word)
    .map(([path, word]) => el("span", { class: `seen ${word === "pass" ? "pass" : "fail"}`, text: `${path} ${word}` }));
  return el("li", { data: { change: transition.change, to: transition.to, backend: transition.backend } },
    verdict ? sign(verdict) : el("span", { class: "dot", "aria-hidden": "true", text: "◆" }),
    el("div", {},
      el("p", { class: "head" }, name, el("b", { class: verdict ?? "", text: what }),
        transition.from ? el("small", { text: `was ${transition.from}` }) : null,
        el("time", { datetime: transition.at, data: { at: transition.at_ms }, text: clockTime(transition.at_ms, now()) })),
      el("p", { class: "evidence" }, transition.cause ? el("span", { class: "why", text: `${transition.cause} (${transition.class})` }) : null, ...seen),
      transition.detail ? el("p", { class: "detail", text: transition.detail }) : null,
      transition.remedy && verdict !== "up" ? el("details", { class: "remedy" }, el("summary", { text: "What to do" }), el("p", { text: transition.remedy })) : null));
}
