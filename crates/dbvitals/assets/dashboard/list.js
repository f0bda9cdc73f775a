// The list of servers. However many there are, only the rows in sight exist; they are moved and
// filled anew as the list scrolls.

import { byId, el, say, show } from "./dom.js";
import { changed, counts, listed, now, shown, store, watch } from "./store.js";
import { drawSparks, drawStrip } from "./strip.js";
import { age, known, lasting, sign, spanWords, took, VERDICTS } from "./words.js";

/// Rows beyond each edge, so that none is missing while a finger moves fast.
const SPARE = 4;

const list = byId("list");
const ground = el("div", { class: "ground", role: "presentation" });
const rows = [];
let height = 0;
let active = 0;
let open = () => {};

/// Builds the list; `opens` is called with the name of a server that somebody chose.
export function build(opens) {
  open = opens;
  list.append(ground);
  list.addEventListener("scroll", () => changed("scroll"), { passive: true });
  list.addEventListener("keydown", press);
  list.addEventListener("click", (event) => {
    const row = rows.find((it) => it.element.contains(event.target));
    if (row) choose(row.place);
  });
  new ResizeObserver(() => changed("scroll", "size")).observe(list);
  for (const verdict of VERDICTS) byId("tiles").append(tile(verdict));
  watch("list backends", tiles);
  watch("list backends scroll size range tick", render);
}

function tile(verdict) {
  const press = () => {
    const { verdicts } = store.view;
    if (!verdicts.delete(verdict)) verdicts.add(verdict);
    active = 0;
    list.scrollTop = 0;
    changed("list");
  };
  return el("button", { type: "button", class: `tile ${verdict}`, data: { verdict }, "aria-pressed": "false", on: { click: press } },
    sign(verdict), el("b", { text: "–" }), el("span", { text: verdict }));
}

/// Filters by a verdict, or no more.
export function toggle(place) {
  byId("tiles").children[place]?.click();
}

function tiles() {
  const found = counts();
  for (const button of byId("tiles").children) {
    const { verdict } = button.dataset;
    say(button.querySelector("b"), store.link.since === null ? "–" : String(found[verdict]));
    const pressed = String(store.view.verdicts.has(verdict));
    if (button.getAttribute("aria-pressed") !== pressed) button.setAttribute("aria-pressed", pressed);
    button.classList.toggle("none", found[verdict] === 0);
  }
}

function row() {
  const cells = {
    sign: el("span", { class: "cell verdict" }),
    word: el("b"),
    name: el("span", { class: "name" }),
    cause: el("span", { class: "cause" }),
    since: el("span", { class: "cell since" }),
    age: el("span", { class: "cell age" }),
    role: el("span"),
    order: el("span", { class: "order-given" }),
    strip: el("canvas", { class: "cell strip" }),
    sparks: el("canvas", { class: "sparks" }),
    took: el("span", { class: "took" }),
  };
  const element = el("div", { class: "row", role: "option" }, cells.sign,
    el("span", { class: "cell server" }, cells.name, cells.cause),
    cells.since, cells.age, el("span", { class: "cell role" }, cells.role, cells.order), cells.strip,
    el("span", { class: "cell latency" }, cells.sparks, cells.took));
  ground.append(element);
  return { element, cells, place: -1, verdict: null };
}

function render(kinds) {
  const backends = listed();
  if (kinds.has("size") || height === 0) {
    // Rows are as high as the style says, which differs on a phone.
    height = parseFloat(getComputedStyle(list).getPropertyValue("--row"));
  }
  const high = `${backends.length * height}px`;
  if (ground.style.height !== high) ground.style.height = high;
  const first = Math.max(0, Math.floor(list.scrollTop / height) - SPARE);
  const wanted = Math.min(backends.length - first, Math.ceil(list.clientHeight / height) + 2 * SPARE);
  while (rows.length < wanted) rows.push(row());
  active = Math.min(active, Math.max(0, backends.length - 1));
  // Only new rows are to be filled while the list moves and nothing else changed.
  const moved = kinds.size === 1 && kinds.has("scroll");
  const drawn = !(kinds.size === 1 && kinds.has("backends"));
  for (let place = first; place < first + Math.max(wanted, 0); place += 1) {
    const target = rows[place % rows.length];
    if (moved && target.place === place && target.backend === backends[place]) continue;
    fill(target, place, backends[place], backends.length, drawn);
  }
  for (const target of rows) show(target.element, target.place >= first && target.place < first + wanted && target.place < backends.length);
  list.setAttribute("aria-activedescendant", backends.length > 0 ? `row-${active}` : "");
  say(byId("count"), summary(backends.length));
  say(byId("range-title"), store.view.end === null ? spanWords(store.view.span) : `${spanWords(store.view.span)} then`);
}

function summary(count) {
  const all = store.backends.size;
  if (store.link.since === null) return "asking the agent…";
  if (all === 0) return "The agent watches nothing.";
  if (count === 0) return "Nothing like that. Esc shows all again.";
  return count === all ? `${all} ${all === 1 ? "server" : "servers"}, worst first` : `${count} of ${all} servers`;
}

function fill(target, place, backend, count, drawn) {
  const { element, cells } = target;
  const fresh = target.place !== place || target.backend !== backend;
  if (fresh) {
    element.style.transform = `translateY(${place * height}px)`;
    element.id = `row-${place}`;
    element.setAttribute("aria-posinset", place + 1);
    element.dataset.name = backend.name;
    say(cells.name, backend.name);
    cells.name.title = backend.address;
    Object.assign(target, { place, backend });
  }
  element.setAttribute("aria-setsize", count);
  element.setAttribute("aria-selected", String(backend.name === store.view.selected));
  element.classList.toggle("active", place === active);
  const verdict = known(backend.verdict);
  if (target.verdict !== verdict) {
    element.dataset.verdict = verdict;
    say(cells.word, verdict);
    cells.sign.replaceChildren(sign(verdict), cells.word);
    target.verdict = verdict;
  }
  say(cells.cause, cause(backend));
  say(cells.since, lasting(now() - backend.since_ms));
  say(cells.age, backend.proof_ms === null ? "none" : age(now() - backend.proof_ms));
  cells.age.classList.toggle("old", backend.proof_ms === null || now() - backend.proof_ms > 30e3);
  say(cells.role, backend.role ?? "");
  say(cells.order, backend.admin === "ready" ? "" : backend.admin);
  const newest = backend.held ?? backend.fresh;
  say(cells.took, newest?.outcome === "pass" ? took(newest.took_ms) : "–");
  drawSparks(cells.sparks, backend.sparks);
  if (drawn || fresh) drawStrip(cells.strip, backend.name, shown());
}

/// The cause in words, or where the server is.
function cause(backend) {
  if (backend.cause) return `${backend.cause}: ${backend.detail ?? ""}`;
  return backend.warning ?? (backend.verdict === "up" ? backend.address : backend.detail ?? backend.address);
}

function choose(place) {
  const backend = listed()[place];
  if (!backend) return;
  active = place;
  open(backend.name);
  changed("list");
}

/// Moves to a row, and brings it into sight.
function move(place) {
  active = Math.min(Math.max(0, place), listed().length - 1);
  const top = active * height;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + height > list.scrollTop + list.clientHeight) list.scrollTop = top + height - list.clientHeight;
  changed("list");
}

function press(event) {
  const page = Math.max(1, Math.floor(list.clientHeight / height) - 1);
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
  if (event.key in steps) move(active + steps[event.key]);
  else if (event.key === "Enter" || event.key === " ") choose(active);
  else return;
  event.preventDefault();
}
