// Latency over time, by phase: of the path and depth that are chosen, from the agent's digests, or
// where it keeps none from the samples that this page has heard.

import { el, say } from "./dom.js";
import { latency } from "./feed.js";
import { keepSamples, now, shown, store, zoom } from "./store.js";
import { axisTime, took } from "./words.js";
import { colours } from "./strip.js";

/// Digests are made every minute.
const ASKED_EVERY = 20e3;
const HEIGHT = 190;

/// The chart of one server.
export class LatencyChart {
  constructor(name) {
    this.name = name;
    this.points = null;
    this.asked = null;
    this.group = null;
    this.plot = null;
    this.tabs = el("div", { class: "range", role: "group", "aria-label": "Path and depth" });
    this.place = el("div", { class: "plot" });
    this.note = el("p", { class: "quiet" });
    this.element = el("section", { class: "chart", "aria-label": "Latency" }, el("h3", {}, "Latency", this.tabs), this.place, this.note);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", this.repaint);
  }

  repaint = () => {
    this.drop();
    requestAnimationFrame(() => this.draw());
  };

  end() {
    matchMedia("(prefers-color-scheme: dark)").removeEventListener("change", this.repaint);
    this.drop();
    this.ended = true;
  }

  drop() {
    this.plot?.destroy();
    this.plot = null;
    this.series = null;
  }

  /// Asks for what is shown, where it is not known yet, and draws.
  async update() {
    // The server may not have been known yet when somebody came to look at it.
    keepSamples(this.name);
    const { from, to } = shown();
    const stale = !this.asked || Math.abs(this.asked.from - from) > ASKED_EVERY || Math.abs(this.asked.to - to) > ASKED_EVERY;
    if (stale && store.link.state === "live") {
      const asked = { from, to };
      this.asked = asked;
      const points = await latency(this.name, from, to);
      // Somebody may have zoomed on meanwhile, and been answered sooner.
      if (this.ended || this.asked !== asked) return;
      this.points = points;
    }
    this.draw();
  }

  /// What is known, by path and depth: times, and a curve for each phase.
  groups() {
    const groups = new Map();
    const add = (path, depth, at, name, value) => {
      const key = depth ? `${path} · ${depth}` : path;
      if (!groups.has(key)) groups.set(key, new Map());
      const rows = groups.get(key);
      if (!rows.has(at)) rows.set(at, {});
      // A logarithm has no zero.
      rows.get(at)[name] = Math.max(value, 0.001);
    };
    if (this.points?.length > 0) {
      for (const point of this.points) {
        const at = Date.parse(point.at);
        if (point.phase === "total") {
          add(point.path, point.depth, at, "total p50", point.p50_ms);
          add(point.path, point.depth, at, "total p99", point.p99_ms);
        } else add(point.path, point.depth, at, point.phase, point.p50_ms);
      }
      return groups;
    }
    for (const sample of store.backends.get(this.name)?.samples ?? []) {
      add(sample.path, sample.depth, sample.at, "total", sample.took);
      const phases = sample.phases ?? [];
      if (phases.length > 1) for (const phase of phases) add(sample.path, sample.depth, sample.at, phase.phase, phase.ms);
    }
    return groups;
  }

  draw() {
    if (this.ended || !this.place.isConnected) return;
    const groups = this.groups();
    const keys = [...groups.keys()].sort((one, other) => groups.get(other).size - groups.get(one).size || other.localeCompare(one));
    if (!keys.includes(this.group)) this.group = keys[0] ?? null;
    this.choose(keys.sort().reverse());
    say(this.note, this.words(keys.length === 0));
    if (this.group === null) return;
    const rows = [...groups.get(this.group)].sort(([one], [other]) => one - other);
    const names = [];
    for (const [, row] of rows) for (const name of Object.keys(row)) if (!names.includes(name)) names.push(name);
    const data = [rows.map(([at]) => at / 1000), ...names.map((name) => rows.map(([, row]) => row[name] ?? null))];
    const series = `${this.group} ${names.join()}`;
    if (this.series !== series) this.drop();
    this.series = series;
    const { from, to } = shown();
    const width = this.place.clientWidth;
    if (width === 0) return;
    if (this.plot) {
      if (this.plot.width !== width) this.plot.setSize({ width, height: HEIGHT });
      this.plot.setData(data, false);
      this.plot.setScale("x", { min: from / 1000, max: to / 1000 });
    } else this.plot = this.paint(names, data, width);
  }

  words(nothing) {
    if (this.points?.length > 0) return "Median of each phase and 99th percentile, per minute. Drag to zoom.";
    if (nothing) return "Nothing was measured yet.";
    const why = this.points === null ? "; with state_dir the agent keeps them for 24 hours" : "";
    return `Samples heard by this page${why}.`;
  }

  choose(keys) {
    const shownKeys = [...this.tabs.children].map((it) => it.textContent);
    if (shownKeys.join() !== keys.join()) {
      const press = (key) => () => {
        this.group = key;
        this.draw();
      };
      this.tabs.replaceChildren(...keys.map((key) => el("button", { type: "button", text: key, on: { click: press(key) } })));
    }
    for (const tab of this.tabs.children) tab.setAttribute("aria-pressed", String(tab.textContent === this.group));
  }

  paint(names, data, width) {
    const figures = { scale: { distr: 3 }, told: took, ticked: (it) => took(it).replace(/\.0+ /, " ") };
    return new uPlot(overTime(names, data, { width, height: HEIGHT }, figures), data, this.place);
  }
}

/// How figures over time are drawn: curves told apart by their dashes too, and dragging zooms.
export function overTime(names, data, size, { scale, told, ticked }) {
  const ink = colours();
  const { from, to } = shown();
  const axis = { stroke: ink.soft, grid: { stroke: ink.line, width: 1 }, ticks: { stroke: ink.line, width: 1 }, font: ink.font };
  const dashes = [[], [6, 3], [2, 2], [8, 2, 2, 2], [4, 4], [1, 3]];
  return {
    ...size,
    padding: [8, 8, 0, 0],
    scales: { x: { time: true, auto: false, min: from / 1000, max: to / 1000 }, y: scale },
    series: [
      { value: (plot, at) => (at === null ? "–" : axisTime(at * 1000, 60e3)) },
      ...names.map((name, place) => ({
        label: name,
        stroke: ink.series[place % ink.series.length],
        dash: dashes[place % dashes.length],
        width: 1.6,
        spanGaps: false,
        points: { show: data[0].length < 30, size: 4 },
        value: (plot, value) => (value === null ? "–" : told(value)),
      })),
    ],
    axes: [
      { ...axis, size: 30, values: (plot, ticks) => { const { from: a, to: b } = shown(); return ticks.map((it) => axisTime(it * 1000, b - a)); } },
      { ...axis, size: 62, values: (plot, ticks) => ticks.map((it) => (it === null ? "" : ticked(it))) },
    ],
    cursor: { drag: { x: true, y: false, setScale: false } },
    hooks: { setSelect: [(plot) => {
      if (plot.select.width < 5) return;
      const begin = plot.posToVal(plot.select.left, "x") * 1000;
      const end = plot.posToVal(plot.select.left + plot.select.width, "x") * 1000;
      plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      zoom(end - begin, Math.min(end, now()));
    }] },
  };
}
