// What things are called and how figures are written, the same everywhere on the page.

import { svg } from "./dom.js";

/// The verdicts, worst first.
export const VERDICTS = ["down", "degraded", "unknown", "up"];

/// What a class means for traffic.
export const CLASSES = {
  dead: "nobody usable is there",
  unfit: "alive, but not for this traffic",
  full: "alive, admits nobody new",
  slow: "alive, over the latency budget",
  ours: "the check's own fault",
  passing: "a session ended, the server works",
};

// Each verdict has a shape of its own, so that nobody has to tell colours apart.
const SHAPES = {
  up: () => [
    svg("circle", { cx: 10, cy: 10, r: 8.5, class: "fill" }),
    svg("path", { d: "M6 10.4l2.8 2.8L14.2 7.4", class: "mark" }),
  ],
  degraded: () => [
    svg("path", { d: "M10 1.6L19.2 18H.8z", class: "fill" }),
    svg("path", { d: "M10 7.4v5.2M10 15.2v.4", class: "mark" }),
  ],
  down: () => [
    svg("path", { d: "M6 1h8l5 5v8l-5 5H6l-5-5V6z", class: "fill" }),
    svg("path", { d: "M6.6 6.6l6.8 6.8M13.4 6.6l-6.8 6.8", class: "mark" }),
  ],
  unknown: () => [
    svg("circle", { cx: 10, cy: 10, r: 8, class: "ring" }),
    svg("path", { d: "M7.4 7.8a2.7 2.7 0 1 1 3.9 2.4c-.9.5-1.3 1-1.3 2M10 14.9v.3", class: "ink" }),
  ],
};

/// The sign of a verdict.
export function sign(verdict) {
  const drawing = svg("svg", { viewBox: "0 0 20 20", class: `sign ${known(verdict)}`, "aria-hidden": "true" });
  drawing.append(...SHAPES[known(verdict)]());
  return drawing;
}

/// A verdict that this page knows; a later agent may say others.
export function known(verdict) {
  return verdict in SHAPES ? verdict : "unknown";
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/// How long something lasts, in the two units that matter.
export function lasting(ms) {
  if (!Number.isFinite(ms)) return "–";
  const span = Math.max(0, ms);
  if (span < MINUTE) return `${Math.floor(span / SECOND)} s`;
  if (span < HOUR) return `${Math.floor(span / MINUTE)}m ${Math.floor((span % MINUTE) / SECOND)}s`;
  if (span < DAY) return `${Math.floor(span / HOUR)}h ${Math.floor((span % HOUR) / MINUTE)}m`;
  return `${Math.floor(span / DAY)}d ${Math.floor((span % DAY) / HOUR)}h`;
}

/// A short time, measured.
export function took(ms) {
  if (!Number.isFinite(ms)) return "–";
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 100) return `${Math.round(ms)} ms`;
  if (ms >= 1) return `${ms.toFixed(1)} ms`;
  return `${ms.toFixed(2)} ms`;
}

/// How full an accept queue is; its limit may be hidden.
export function fill(queue) {
  return queue.limit === null ? String(queue.length) : `${queue.length}/${queue.limit}`;
}

/// How old evidence is: what is younger than two seconds just changes too fast to read.
export function age(ms) {
  if (!Number.isFinite(ms)) return "none yet";
  return ms < 2 * SECOND ? "< 2 s" : lasting(ms);
}

const two = (number) => String(number).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A time of day where it is today, else with its date.
export function clockTime(at, today) {
  const time = new Date(at);
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  const same = new Date(today).toDateString() === time.toDateString();
  return same ? clock : `${time.getDate()} ${MONTHS[time.getMonth()]} ${clock}`;
}

/// The same without seconds, for axes.
export function axisTime(at, span) {
  const time = new Date(at);
  if (span > 3 * DAY) return `${time.getDate()} ${MONTHS[time.getMonth()]}`;
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}`;
  return span < 10 * MINUTE ? `${clock}:${two(time.getSeconds())}` : clock;
}

/// How a span of time is called.
export function spanWords(ms) {
  if (ms === HOUR) return "last hour";
  if (ms < 2 * MINUTE) return `${Math.round(ms / SECOND)} s`;
  if (ms < 2 * HOUR) return `${Math.round(ms / MINUTE)} min`;
  if (ms < 2 * DAY) return `${Math.round(ms / HOUR)} h`;
  return `${Math.round(ms / DAY)} days`;
}
