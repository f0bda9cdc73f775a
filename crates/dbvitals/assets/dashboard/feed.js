// What the agent says: asked for once, then heard as it happens, and asked for again whenever the
// stream was cut. A stream is read by hand rather than by EventSource, because its comments are the
// sign of life by which a silent network is told from a quiet day.

import * as store from "./store.js";

const API = "/api/v1";
/// The agent shows that it lives every 15 s, for the first time so long after its stream began.
const SILENT_MAX = 20e3;
const ANSWER_MAX = 10e3;
const RETRY_FIRST = 250;
const RETRY_MAX = 2000;
const VITALS_EVERY = 5000;
/// Samples of many backends come in turns; what was not sampled is asked for this often.
const REFRESH_EVERY = 10e3;
/// So many backends that changed at a time are asked for one by one; more of them all together.
const SINGLES_MAX = 8;
const TOGETHER_WITHIN = 100;
/// Transitions in one answer.
const PAGE_MAX = 1000;

let lastId = null;
let heard = null;
let stale = new Set();
let staleTimer = null;
let reaching = false;
let reachAgain = false;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/// Asks for a document; a refusal is an error with the agent's own words.
export async function ask(path) {
  const answer = await fetch(API + path, { signal: AbortSignal.timeout(ANSWER_MAX), cache: "no-store" });
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const error = new Error(body.detail ?? `the agent answered ${answer.status}`);
  error.status = answer.status;
  throw error;
}

/// Listens for as long as the page is open.
export async function follow() {
  setInterval(() => attempt(vitals), VITALS_EVERY);
  setInterval(() => attempt(refresh), REFRESH_EVERY);
  let retry = RETRY_FIRST;
  for (;;) {
    const why = await listen().catch((error) => error);
    // It was heard until then; before that nothing is known to be true.
    if (store.store.link.state === "live") retry = RETRY_FIRST;
    const since = store.store.link.state === "live" ? heard ?? store.now() : store.store.link.since ?? store.now();
    if (store.store.agent) store.noteRun(Date.parse(store.store.agent.started), since);
    store.setLink("cut", since, why?.message ?? null);
    await pause(retry * (0.75 + Math.random() / 2));
    retry = Math.min(retry * 2, RETRY_MAX);
  }
}

function attempt(asking) {
  // The stream says when the agent is away, and what is asked then is asked again.
  if (store.store.link.state === "live") asking().catch(() => {});
}

/// Listens until the stream ends, and says why it did where that is known.
async function listen() {
  const stop = new AbortController();
  let alarm = setTimeout(() => stop.abort(new Error("the agent does not answer")), ANSWER_MAX);
  const heardOf = () => {
    heard = store.now();
    clearTimeout(alarm);
    alarm = setTimeout(() => stop.abort(new Error("nothing was heard for 20 s")), SILENT_MAX);
  };
  try {
    const headers = lastId === null ? {} : { "Last-Event-ID": lastId };
    const answer = await fetch(`${API}/events`, { headers, signal: stop.signal, cache: "no-store" });
    if (!answer.ok) {
      const body = await answer.json().catch(() => ({}));
      throw new Error(body.detail ?? `the agent answered ${answer.status}`);
    }
    heardOf();
    const pending = [];
    const live = { take: (event) => pending.push(event) };
    // What happens while the rest is asked for is not lost, and comes after it.
    const loaded = load().then(() => {
      for (const event of pending) take(event);
      live.take = take;
      store.setLink("live", store.now(), null);
      reach();
    });
    loaded.catch((error) => stop.abort(error));
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return new Error("the agent ended, or a proxy in between");
      heardOf();
      const frames = (rest + value).split("\n\n");
      rest = frames.pop();
      for (const frame of frames) {
        const event = read(frame);
        if (event) live.take(event);
      }
    }
  } finally {
    clearTimeout(alarm);
    stop.abort();
  }
}

/// One server-sent event; comments are none.
function read(frame) {
  const event = {};
  for (const line of frame.split("\n")) {
    const at = line.indexOf(": ");
    if (at > 0) event[line.slice(0, at)] = line.slice(at + 2);
  }
  return event.event ? event : null;
}

function take(event) {
  const said = JSON.parse(event.data);
  if (event.id) lastId = event.id;
  if (event.event === "transition") {
    store.takeTransition(said);
    askSoon(said.backend);
  } else if (event.event === "observation") store.takeObservation(said);
  else if (event.event === "lost") load().catch(() => {});
}

/// A transition says what changed; what to do about it, and what a service makes of it, is asked.
function askSoon(name) {
  stale.add(name);
  staleTimer ??= setTimeout(async () => {
    const names = [...stale];
    stale = new Set();
    staleTimer = null;
    const services = ask("/services").then((body) => store.takeServices(body.services));
    const backends = names.length > SINGLES_MAX
      ? [ask("/backends").then((body) => store.takeBackends(body.backends, true))]
      : names.map((it) => ask(`/backends/${encodeURIComponent(it)}`).then((body) => store.takeBackends(body.backends, false)));
    await Promise.allSettled([services, ...backends]);
  }, TOGETHER_WITHIN);
}

/// Asks for everything.
async function load() {
  const [, backends, services, recent, history] = await Promise.all([
    vitals(), ask("/backends"), ask("/services"), ask(`/transitions?max=${PAGE_MAX}`), past(),
  ]);
  store.takeBackends(backends.backends, true);
  store.takeServices(services.services);
  store.takeTransitions([...history.transitions, ...recent.transitions]);
  const started = Date.parse(store.store.agent?.started ?? "");
  const oldest = recent.transitions[0] ? Date.parse(recent.transitions[0].at) : store.now();
  // Where the agent keeps only the last ones, what was before them is not known.
  const memory = recent.transitions.length < PAGE_MAX && Number.isFinite(started) ? started : oldest;
  store.setRecord(history.since ?? memory, history.limit, history.runs);
}

async function refresh() {
  const [backends, services] = await Promise.all([ask("/backends"), ask("/services")]);
  store.takeBackends(backends.backends, true);
  store.takeServices(services.services);
}

/// The transitions that the agent keeps on its disk, where it does.
function past() {
  const { from } = store.shown();
  return history(Math.min(from, store.now() - 24 * 3600e3), null, null);
}

async function history(since, until, of) {
  try {
    const query = new URLSearchParams({ since: new Date(since).toISOString(), max: PAGE_MAX });
    if (until !== null) query.set("until", new Date(until).toISOString());
    if (of !== null) query.set("of", of);
    const body = await ask(`/history/transitions?${query}`);
    const kept = Date.parse(body.kept_since) || since;
    // Not complete for that alone, or because there were too many as well: asked so, it says which.
    if (body.complete === false && kept > since) return history(kept, until, of);
    // Of too many it tells the newest; then what was before them is still to be asked for.
    const cut = body.complete === false && body.transitions.length > 0;
    const first = cut ? Date.parse(body.transitions[0].at) : Math.max(kept, since);
    const runs = (body.runs ?? []).map((run) => [Date.parse(run.began), Date.parse(run.seen)]);
    return { transitions: body.transitions, since: first, limit: kept, runs };
  } catch {
    // An agent without state_dir keeps none, and one of before knows no such question.
    return { transitions: [], since: null, limit: null, runs: [] };
  }
}

/// Asks for more of the past where more of it is shown: first that of the server somebody looks at,
/// then that of all. What is shown may change meanwhile.
export async function reach() {
  reachAgain = true;
  if (reaching) return;
  reaching = true;
  while (reachAgain) {
    reachAgain = false;
    for (const of of new Set([store.store.view.selected, null])) while (await reachOn(of));
  }
  reaching = false;
}

/// Asks for one page more, while there is room; whether it was one.
async function reachOn(of) {
  const { record, link, view } = store.store;
  const gone = of !== null && of !== view.selected;
  if (gone || record.limit === null || link.state !== "live") return false;
  const from = Math.max(store.shown().from, record.limit, record.dropped);
  const until = store.sinceOf(of);
  if (from >= until) return false;
  if (of !== null) store.letGo(of);
  const room = of === null ? store.PAST_MAX : store.TRANSITIONS_MAX;
  if (store.store.transitions.length + PAGE_MAX > room) return false;
  const more = await history(from, until, of);
  if (more.limit === null) return false;
  record.limit = more.limit;
  store.takeTransitions(more.transitions);
  store.extendRecord(Math.min(more.since, until), of, more.runs);
  return store.sinceOf(of) < until;
}

/// Latency digests of one backend; `null` where the agent keeps none.
export async function latency(name, from, to) {
  const step = to - from > 6 * 3600e3 ? "10m" : "1m";
  const query = `of=${encodeURIComponent(name)}&since=${new Date(from).toISOString()}&until=${new Date(to).toISOString()}&step=${step}`;
  const body = await ask(`/history/latency?${query}`).catch(() => null);
  return body && Array.isArray(body.points) ? body.points : null;
}

/// Probes a second since the last look, or since the agent started while there was none. Those of
/// servers that are not watched any more are not counted any more.
export function probesPerSecond(agent, before) {
  if (!agent.vitals) return undefined;
  // In a container each agent has the same number as the one before.
  const known = before?.vitals && agent.started === before.started;
  const seconds = (Date.parse(agent.at) - Date.parse(known ? before.at : agent.started)) / 1000;
  if (seconds > 0.5) return Math.max(0, agent.vitals.probes - (known ? before.vitals.probes : 0)) / seconds;
  return known ? before.probes_per_second : undefined;
}

async function vitals() {
  const agent = await ask("/agent");
  agent.probes_per_second = probesPerSecond(agent, store.store.agent);
  if (agent.at) store.setClock(Date.parse(agent.at));
  store.noteRun(Date.parse(agent.started), store.now());
  store.store.agent = agent;
  store.changed("agent");
}
