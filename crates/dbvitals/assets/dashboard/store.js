// All that the page knows: what the agent said, and what the person looks at. Feeds write here,
// views read; a change is shown with the next frame, however many there are until then.

import { VERDICTS, known } from "./words.js";

const HOUR = 3600e3;
/// Transitions kept; the oldest go first.
export const TRANSITIONS_MAX = 20e3;
/// So many of the past of all servers: there is room for that of one, and for what happens.
export const PAST_MAX = 15e3;
/// Latencies kept for each server's small curve.
const SPARKS_MAX = 40;
/// Whole samples kept of a server that somebody looked at.
const SAMPLES_MAX = 900;
/// How often the title may change in a tab that nobody sees.
const HIDDEN_EVERY = 500;

export const store = {
  agent: null,
  link: { state: "connecting", since: null, why: null },
  backends: new Map(),
  services: [],
  /// Oldest first.
  transitions: [],
  /// Since when transitions are known here, of all and of single servers; how far back the agent could
  /// tell more, if it keeps a history; up to when they were dropped again; and when an agent watched
  /// at all: the ends of its runs by their beginnings.
  record: { since: null, of: new Map(), limit: null, dropped: -Infinity, runs: new Map() },
  view: { verdicts: new Set(), query: "", service: null, selected: null, span: HOUR, end: null },
};

/// Verdicts over time, by backend.
const lines = new Map();
const told = new Set();
const watchers = [];
const due = new Set();
let order = null;
// What the agent's clock is ahead of the browser's.
let ahead = 0;

/// The agent's time, in which all else on the page is told.
export function now() {
  return Date.now() + ahead;
}

export function setClock(agentTime) {
  const difference = agentTime - Date.now();
  // Less than the way of an answer is no difference.
  ahead = Math.abs(difference) > 1500 ? difference : 0;
}

/// Calls a view before the next frame after anything of these kinds changed.
export function watch(kinds, view) {
  watchers.push({ kinds: kinds.split(" "), view });
}

export function changed(...kinds) {
  if (due.size === 0) tellSoon();
  for (const kind of kinds) due.add(kind);
  if (kinds.includes("list")) order = null;
}

/// A page that is hidden has no frames, and its title is read all the same.
function tellSoon() {
  if (document.hidden) setTimeout(tell, HIDDEN_EVERY);
  else requestAnimationFrame(tell);
}

// The frame that was waited for does not come any more, or comes now.
document.addEventListener("visibilitychange", () => {
  if (due.size > 0) tellSoon();
});

function tell() {
  const kinds = new Set(due);
  due.clear();
  for (const watcher of watchers) {
    if (watcher.kinds.some((kind) => kinds.has(kind))) watcher.view(kinds);
  }
}

export function setLink(state, since, why) {
  Object.assign(store.link, { state, since, why });
  changed("link");
}

/// Takes over what is known of all backends, or of some of them.
export function takeBackends(list, all) {
  const before = store.backends;
  const backends = all ? new Map() : before;
  for (const said of list) backends.set(said.name, update(before.get(said.name), said));
  store.backends = backends;
  changed("list", "backends");
}

function update(known, said) {
  const backend = known ?? { sparks: [], samples: null };
  Object.assign(backend, said);
  backend.queue ??= null;
  keepQueue(backend, now());
  backend.since_ms = Date.parse(said.since);
  backend.proof_ms = provenAt(said);
  backend.words = [said.name, said.address, said.cause, said.class, said.role, said.admin,
    said.verdict, said.held?.server?.product, said.fresh?.server?.product, said.held?.server?.version,
    said.fresh?.server?.version, said.order?.reason].filter(Boolean).join(" ").toLowerCase();
  return backend;
}

/// When the newest proof was got; which observations are one is the agent's matter.
function provenAt(said) {
  const aged = said.evidence_age_ms;
  return aged === null || aged === undefined ? null : now() - aged;
}

export function takeServices(list) {
  store.services = list;
  changed("services", "list");
}

/// A sampled observation.
export function takeObservation(said) {
  const backend = store.backends.get(said.backend);
  if (!backend) return;
  backend[said.path] = said;
  const ended = Date.parse(said.ended);
  if (said.queue !== undefined) {
    backend.queue = said.queue;
    keepQueue(backend, ended);
  }
  backend.proof_ms = provenAt(said) ?? backend.proof_ms;
  if (said.outcome === "pass") {
    if (said.path === "held" || !backend.held) {
      backend.sparks.push(said.took_ms);
      if (backend.sparks.length > SPARKS_MAX) backend.sparks.shift();
    }
    if (backend.samples) {
      backend.samples.push({ at: ended, path: said.path, depth: said.depth_reached, took: said.took_ms, phases: said.phases });
      if (backend.samples.length > SAMPLES_MAX) backend.samples.shift();
    }
  }
  if (backend.verdict !== said.verdict) {
    backend.verdict = said.verdict;
    changed("list");
  }
  changed("backends");
}

/// Keeps how full the queue of a server is that somebody looked at.
function keepQueue(backend, at) {
  if (!backend.samples || !backend.queue) return;
  backend.queues ??= [];
  if (at <= backend.queues.at(-1)?.at) return;
  backend.queues.push({ at, length: backend.queue.length, limit: backend.queue.limit });
  if (backend.queues.length > SAMPLES_MAX) backend.queues.shift();
}

/// Keeps whole samples of a server from now on.
export function keepSamples(name) {
  const backend = store.backends.get(name);
  if (backend && !backend.samples) backend.samples = [];
}

/// A transition as it happens.
export function takeTransition(said) {
  if (!keep(said)) return;
  const backend = store.backends.get(said.backend);
  if (backend) {
    if (said.change === "verdict") {
      backend.verdict = said.to;
      backend.since_ms = Date.parse(said.at);
      Object.assign(backend, { cause: said.cause, class: said.class, detail: said.detail });
      // That of the old cause would be wrong advice; the agent is asked for the new one at once.
      backend.remedy = said.remedy ?? null;
    } else backend[said.change] = said.to;
  }
  trim();
  changed("list", "backends", "transitions");
}

/// Transitions of the past, in any order and as often as the agent says them.
export function takeTransitions(list) {
  let news = false;
  for (const said of list) news = keep(said) || news;
  if (!news) return;
  store.transitions.sort((one, other) => one.at_ms - other.at_ms);
  for (const line of lines.values()) line.sort((one, other) => one.at_ms - other.at_ms);
  trim();
  changed("transitions", "list");
}

function keep(said) {
  const id = `${said.at} ${said.change} ${said.to} ${said.backend}`;
  if (told.has(id)) return false;
  told.add(id);
  const transition = { ...said, id, at_ms: Date.parse(said.at) };
  store.transitions.push(transition);
  if (said.change === "verdict") {
    if (!lines.has(said.backend)) lines.set(said.backend, []);
    lines.get(said.backend).push(transition);
  }
  return true;
}

function drop(transition) {
  told.delete(transition.id);
  const line = lines.get(transition.backend);
  const place = line ? line.indexOf(transition) : -1;
  if (place >= 0) line.splice(place, 1);
}

/// Lets go of what is known of single servers beyond what is known of all, but for this one's.
export function letGo(name) {
  const { record } = store;
  const others = [...record.of.keys()].filter((it) => it !== name);
  if (others.length === 0) return;
  for (const other of others) record.of.delete(other);
  const stays = (it) => it.at_ms >= record.since || it.backend === name;
  store.transitions.filter((it) => !stays(it)).forEach(drop);
  store.transitions = store.transitions.filter(stays);
}

function trim() {
  const surplus = store.transitions.length - TRANSITIONS_MAX;
  if (surplus <= 0) return;
  store.transitions.splice(0, surplus).forEach(drop);
  const { record } = store;
  record.dropped = store.transitions[0].at_ms;
  if (record.since !== null) record.since = Math.max(record.since, record.dropped);
  for (const [name, since] of record.of) record.of.set(name, Math.max(since, record.dropped));
}

/// Since when the transitions of a server are known; of all where none is named.
export function sinceOf(name) {
  const { since, of } = store.record;
  return Math.min(since ?? now(), of.get(name) ?? Infinity);
}

/// Takes over since when transitions are known, as the agent says it to a page that comes, or comes back.
export function setRecord(since, limit, runs) {
  const { record, link } = store;
  const heard = link.state === "cut" ? link.since : now();
  // What was known before stays so where nothing is missing in between.
  if (record.since === null || since > heard) record.of.clear();
  else since = Math.min(since, record.since);
  record.limit = limit;
  extendRecord(since, null, runs);
}

/// Takes over that they are known since earlier: those of one server, or of all.
export function extendRecord(since, name, runs) {
  const { record } = store;
  const from = Math.max(since, record.dropped);
  if (name === null) record.since = from;
  else record.of.set(name, from);
  for (const [began, seen] of runs) noteRun(began, seen);
  changed("list", "transitions");
}

/// An agent that began at one time still watched at another.
export function noteRun(began, seen) {
  const { runs } = store.record;
  runs.set(began, Math.max(seen, runs.get(began) ?? began));
}

/// When nobody watched: between the end of all runs before and the next beginning. A run that both the
/// history and the agent itself tell of may begin twice.
function gaps() {
  const found = [];
  let end = Infinity;
  for (const [began, seen] of [...store.record.runs].sort(([one], [other]) => one - other)) {
    if (began > end) found.push([end, began]);
    end = end === Infinity ? seen : Math.max(end, seen);
  }
  return found;
}

/// The verdicts of a backend from one time to another, without gaps; what nobody recorded has none.
export function segments(name, from, to) {
  const backend = store.backends.get(name);
  const line = lines.get(name) ?? [];
  const found = [];
  const unwatched = gaps();
  const add = (begin, end, verdict, transition) => {
    const ends = Math.min(end, to);
    let begins = Math.max(begin, from);
    for (const [left, back] of verdict ? unwatched : []) {
      if (back <= begins || left >= ends) continue;
      if (left > begins) found.push({ from: begins, to: left, verdict, transition });
      found.push({ from: Math.max(left, begins), to: Math.min(back, ends), verdict: null });
      begins = Math.min(back, ends);
    }
    if (ends > begins) found.push({ from: begins, to: ends, verdict, transition });
  };
  // Who is cut off knows nothing of what came after.
  const last = Math.min(to, store.link.state === "cut" ? store.link.since : now());
  const first = line[0];
  const begin = Math.min(sinceOf(name), first?.at_ms ?? backend?.since_ms ?? Infinity);
  add(-Infinity, begin, null);
  if (!first) {
    if (backend) add(begin, last, known(backend.verdict));
    if (last < now()) add(last, Math.min(to, now()), null);
    return found;
  }
  if (first.from) add(begin, first.at_ms, known(first.from));
  for (let place = 0; place < line.length; place += 1) {
    const end = line[place + 1]?.at_ms ?? last;
    add(line[place].at_ms, end, known(line[place].to), line[place]);
  }
  if (last < now()) add(last, Math.min(to, now()), null);
  return found;
}

/// The stretch of time that is shown.
export function shown() {
  const end = store.view.end ?? now();
  return { from: end - store.view.span, to: end };
}

/// Shows another stretch of time; without an end it moves on with the clock.
export function zoom(span, end = null) {
  store.view.span = Math.min(Math.max(span, 10e3), 30 * 24 * HOUR);
  store.view.end = end !== null && end < now() ? end : null;
  changed("range", "list", "transitions");
}

/// How many backends have each verdict, whatever is searched for.
export function counts() {
  const found = Object.fromEntries(VERDICTS.map((verdict) => [verdict, 0]));
  for (const backend of store.backends.values()) found[known(backend.verdict)] += 1;
  return found;
}

/// The backends that are listed, worst first.
export function listed() {
  order ??= sorted();
  return order;
}

function sorted() {
  const { verdicts, query, service } = store.view;
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const members = service && store.services.find((it) => it.name === service);
  const names = members && new Set(members.backends.map((it) => it.name));
  const fits = (backend) => (verdicts.size === 0 || verdicts.has(known(backend.verdict)))
    && (!names || names.has(backend.name))
    && words.every((word) => backend.words.includes(word));
  const found = [...store.backends.values()].filter(fits);
  const rank = (backend) => VERDICTS.indexOf(known(backend.verdict));
  // Numbers in names count as such: db-2 stands before db-10.
  return found.sort((one, other) => rank(one) - rank(other) || collator.compare(one.name, other.name));
}

const collator = new Intl.Collator("en", { numeric: true });
