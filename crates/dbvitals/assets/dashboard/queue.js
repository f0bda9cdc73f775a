// The accept queue of one server, where the agent can see it: how many wait against how many fit, as
// this page has heard it, and in a line what is wrong.

import { overTime } from "./chart.js";
import { el, say, show } from "./dom.js";
import { keepSamples, shown, store } from "./store.js";
import { fill, took } from "./words.js";

const HEIGHT = 130;

/// The queue of one server.
export class QueueView {
  constructor(name) {
    this.name = name;
    this.plot = null;
    this.line = el("p", { class: "queue" });
    this.place = el("div", { class: "plot" });
    this.element = el("section", { class: "chart", "aria-label": "Accept queue", hidden: true },
      el("h3", {}, "Accept queue", el("small", { text: "connections that wait for the server's accept()" })), this.line, this.place);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.dark.addEventListener("change", this.drop);
  }

  end() {
    this.dark.removeEventListener("change", this.drop);
    this.drop();
  }

  drop = () => {
    this.plot?.destroy();
    this.plot = null;
  };

  update() {
    const backend = store.backends.get(this.name);
    show(this.element, Boolean(backend?.queue));
    if (!backend?.queue) return;
    keepSamples(this.name);
    say(this.line, sentence(backend.queue));
    this.element.classList.toggle("wrong", Boolean(backend.queue.cause));
    const width = this.place.clientWidth;
    const seen = backend.queues ?? [];
    if (width === 0 || seen.length === 0) return;
    const data = [seen.map((it) => it.at / 1000), seen.map((it) => it.length), seen.map((it) => it.limit)];
    const { from, to } = shown();
    if (this.plot) {
      if (this.plot.width !== width) this.plot.setSize({ width, height: HEIGHT });
      this.plot.setData(data);
      this.plot.setScale("x", { min: from / 1000, max: to / 1000 });
      return;
    }
    const scale = { range: (plot, low, high) => [0, Math.max(high ?? 0, 1) * 1.1] };
    const figures = { scale, told: String, ticked: (it) => (Number.isInteger(it) ? String(it) : "") };
    this.plot = new uPlot(overTime(["waiting", "limit"], data, { width, height: HEIGHT }, figures), data, this.place);
  }
}

/// `3/80 wait, 12 overflows since the agent looks`, and what is wrong.
function sentence(queue) {
  const parts = [`${fill(queue)} wait${queue.full ? ", full" : ""}`];
  if (queue.overflows !== null) parts.push(`${queue.overflows} overflows since the agent looks`);
  if (queue.standstill_ms !== null) parts.push(`nobody accepted for ${took(queue.standstill_ms)}`);
  return `${parts.join(" · ")}${queue.cause ? ` · ${queue.cause}` : ""}`;
}
