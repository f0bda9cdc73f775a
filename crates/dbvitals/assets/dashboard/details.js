// One server: what is the case, since when, why, what to do; both paths, time line, latency, what
// happened, and the form for orders. Built once for a server and then kept up to date, so that
// neither a form half filled in nor a zoomed chart is lost to news.

import { LatencyChart } from "./chart.js";
import { el, say, show } from "./dom.js";
import { happened } from "./happened.js";
import { orderForm } from "./orders.js";
import { QueueView } from "./queue.js";
import { now, segments, shown, store, zoom } from "./store.js";
import { drawStrip } from "./strip.js";
import { age, CLASSES, clockTime, known, lasting, sign, spanWords, took } from "./words.js";

export class Details {
  constructor(name, close) {
    this.name = name;
    this.verdict = null;
    this.signPlace = el("span");
    this.word = el("b", { class: "word" });
    this.since = el("span");
    this.facts = el("p", { class: "facts" });
    this.why = el("p", { class: "why" });
    this.detail = el("p", { class: "detail" });
    this.remedy = el("p", { class: "remedy" });
    this.warning = el("p", { class: "warning" });
    this.order = el("p", { class: "given" });
    this.held = new Path("held", "the session that is kept open");
    this.fresh = new Path("fresh", "a session opened for the probe");
    this.strip = el("canvas", { class: "wide strip", role: "img", tabindex: "0" });
    this.stripNote = el("p", { class: "quiet" });
    this.chart = new LatencyChart(name);
    this.queue = new QueueView(name);
    this.past = el("div");
    this.element = el("div", { class: "details", data: { name } },
      el("button", { type: "button", class: "back", on: { click: close } }, "← all"),
      el("h2", {}, this.signPlace, el("span", { class: "name", text: name }), this.word),
      this.facts,
      el("p", { class: "lasts" }, this.since),
      this.why, this.detail, this.remedy, this.warning, this.order,
      orderForm(name),
      el("section", { class: "paths", "aria-label": "Paths" }, this.held.element, this.fresh.element),
      el("section", { "aria-label": "Time line" }, el("h3", { text: "Time line" }), this.strip, this.stripNote),
      this.chart.element,
      this.queue.element,
      el("section", { "aria-label": "What happened" }, el("h3", { text: "What happened" }), this.past));
    dragToZoom(this.strip);
  }

  end() {
    this.chart.end();
    this.queue.end();
  }

  update(kinds) {
    const backend = store.backends.get(this.name);
    show(this.detail, Boolean(backend?.detail) || !backend);
    if (!backend) {
      say(this.detail, "The agent does not watch a server of this name any more.");
    } else this.fill(backend);
    if (kinds.has("transitions") || kinds.has("all")) this.past.replaceChildren(...happened(this.name, null));
    if (["list", "range", "tick", "size", "all", "transitions"].some((kind) => kinds.has(kind))) this.drawTime();
    this.chart.update();
    this.queue.update();
  }

  fill(backend) {
    const verdict = known(backend.verdict);
    if (this.verdict !== verdict) {
      this.signPlace.replaceChildren(sign(verdict));
      this.element.dataset.verdict = verdict;
      say(this.word, verdict);
      this.verdict = verdict;
    }
    const server = backend.fresh?.server ?? backend.held?.server;
    const used = server?.connections ? `${server.connections.used} of ${server.connections.max} connections` : null;
    say(this.facts, [backend.address, server?.product && `${server.product} ${server.version ?? ""}`.trim(), backend.role, used].filter(Boolean).join(" · "));
    const proof = backend.proof_ms === null ? "none yet" : age(now() - backend.proof_ms);
    say(this.since, `for ${lasting(now() - backend.since_ms)}, since ${clockTime(backend.since_ms, now())} · evidence: ${proof} · admin state: ${backend.admin}`);
    this.tell(this.why, backend.cause && `${backend.cause} · ${backend.class}: ${CLASSES[backend.class] ?? ""}`);
    this.tell(this.detail, backend.detail);
    this.tell(this.remedy, backend.remedy && `Do: ${backend.remedy}`);
    this.tell(this.warning, backend.warning);
    const { order } = backend;
    this.tell(this.order, order && backend.admin !== "ready"
      && `${backend.admin}${order.until ? ` until ${clockTime(Date.parse(order.until), now())}` : ""}${order.reason ? `: ${order.reason}` : ""}`);
    this.held.fill(backend.held);
    this.fresh.fill(backend.fresh);
  }

  tell(place, text) {
    show(place, Boolean(text));
    say(place, text || "");
  }

  drawTime() {
    const stretch = shown();
    drawStrip(this.strip, this.name, stretch, true);
    const parts = segments(this.name, stretch.from, stretch.to);
    const sums = {};
    for (const part of parts) sums[part.verdict ?? "not recorded"] = (sums[part.verdict ?? "not recorded"] ?? 0) + part.to - part.from;
    const said = Object.entries(sums).filter(([, ms]) => ms >= 1000).map(([verdict, ms]) => `${verdict} ${lasting(ms)}`).join(", ");
    this.strip.setAttribute("aria-label", `${spanWords(store.view.span)}: ${said}`);
    say(this.stripNote, `${spanWords(store.view.span)}${store.view.end === null ? "" : ` until ${clockTime(store.view.end, now())}`}: ${said}. The worse, the higher; drag to zoom.`);
  }
}

/// What one path saw last.
class Path {
  constructor(name, meaning) {
    this.outcome = el("b");
    this.when = el("span", { class: "quiet" });
    this.phases = el("dl", { class: "phases" });
    this.detail = el("p", { class: "detail" });
    this.said = null;
    this.element = el("section", { class: "path", data: { path: name }, "aria-label": `${name} path` },
      el("h3", {}, name, el("small", { text: meaning })), el("p", {}, this.outcome, " ", this.when), this.phases, this.detail);
  }

  fill(seen) {
    if (!seen) {
      say(this.outcome, "nothing yet");
      return;
    }
    say(this.when, `${age(now() - Date.parse(seen.ended))} ago`);
    // The same observation again is no news.
    if (this.said === seen.ended + seen.outcome) return;
    this.said = seen.ended + seen.outcome;
    const passed = seen.outcome === "pass";
    this.outcome.className = passed ? "up" : "down";
    say(this.outcome, passed ? `✓ ${seen.depth_reached ?? "pass"} in ${took(seen.took_ms)}` : `✗ ${seen.cause} after ${took(seen.took_ms)}`);
    const longest = Math.max(...seen.phases.map((it) => it.ms), 0.001);
    this.phases.replaceChildren(...seen.phases.flatMap((phase) => {
      const bar = el("i", { class: phase.failed ? "bar failed" : "bar" });
      bar.style.width = `${Math.max(2, (phase.ms / longest) * 100)}%`;
      return [el("dt", { text: phase.phase }), el("dd", {}, el("span", { class: phase.failed ? "failed" : null, text: phase.failed ? `✗ ${took(phase.ms)}` : took(phase.ms) }), el("span", { class: "track" }, bar))];
    }));
    say(this.detail, passed ? "" : seen.detail ?? "");
  }
}

/// Dragging over a time line shows that stretch; the wheel and + and - do as well.
function dragToZoom(strip) {
  let begin = null;
  const time = (event) => {
    const box = strip.getBoundingClientRect();
    const { from, to } = shown();
    return from + Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * (to - from);
  };
  strip.addEventListener("pointerdown", (event) => {
    begin = { x: event.clientX, at: time(event) };
    strip.setPointerCapture(event.pointerId);
  });
  strip.addEventListener("pointerup", (event) => {
    if (begin && Math.abs(event.clientX - begin.x) > 5) {
      const [from, to] = [begin.at, time(event)].sort((one, other) => one - other);
      zoom(to - from, to);
    }
    begin = null;
  });
  strip.addEventListener("pointercancel", () => { begin = null; });
  strip.addEventListener("wheel", (event) => {
    if (event.deltaY === 0) return;
    event.preventDefault();
    zoom(store.view.span * (event.deltaY > 0 ? 1.25 : 0.8), store.view.end);
  }, { passive: false });
}
