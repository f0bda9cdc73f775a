// The services above the list: one card each, which shows its members alone when pressed.

import { byId, el, say, show } from "./dom.js";
import { changed, store, watch } from "./store.js";
import { known, sign } from "./words.js";

const place = byId("services");
const cards = new Map();

export function build() {
  watch("services list", render);
}

function render() {
  show(place, store.services.length > 0);
  const names = new Set(store.services.map((it) => it.name));
  for (const [name, card] of cards) {
    if (names.has(name)) continue;
    card.element.remove();
    cards.delete(name);
  }
  for (const service of store.services) {
    if (!cards.has(service.name)) cards.set(service.name, card(service.name));
    fill(cards.get(service.name), service);
  }
}

function card(name) {
  const press = () => {
    store.view.service = store.view.service === name ? null : name;
    changed("list");
  };
  const parts = { sign: el("span", { class: "mark" }), word: el("b"), fit: el("span", { class: "fit" }), note: el("span", { class: "note" }) };
  const element = el("button", { type: "button", class: "service", "aria-pressed": "false", data: { service: name }, on: { click: press } },
    parts.sign, el("span", { class: "name", text: name }), parts.word, parts.fit, parts.note);
  place.append(element);
  return { element, parts, verdict: null };
}

function fill(card, service) {
  const verdict = known(service.verdict);
  if (card.verdict !== verdict) {
    card.parts.sign.replaceChildren(sign(verdict));
    card.element.dataset.verdict = verdict;
    card.verdict = verdict;
  }
  say(card.parts.word, verdict);
  say(card.parts.fit, `${service.fit} of ${service.backends.length} fit`);
  const primary = service.primaries.length > 0 ? `primary ${service.primaries.join(", ")}` : "";
  say(card.parts.note, service.warning ?? (verdict === "up" ? primary : service.detail ?? primary));
  card.element.classList.toggle("alarm", Boolean(service.alarm));
  card.element.setAttribute("aria-pressed", String(store.view.service === service.name));
}
