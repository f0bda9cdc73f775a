// A time line of verdicts, drawn: the worse, the higher, so that its shape says it without colours.

import { segments } from "./store.js";
import { axisTime } from "./words.js";

const HEIGHTS = { up: 0.34, unknown: 0.5, degraded: 0.68, down: 1 };
let palette = null;

/// The colours of the page, as they are now.
export function colours() {
  if (palette) return palette;
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  palette = {
    up: of("up"), down: of("down"), degraded: of("degraded"), unknown: of("unknown"),
    line: of("line"), ink: of("ink"), soft: of("soft"), accent: of("accent"),
    font: `11px ${style.fontFamily}`,
    series: ["accent", "s1", "s2", "s3", "s4", "s5"].map(of),
  };
  return palette;
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  palette = null;
});

/// A drawing of the size of its place, sharp on every screen.
export function canvasOf(canvas) {
  const scale = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  const [wide, high] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const draw = canvas.getContext("2d");
  draw.setTransform(scale, 0, 0, scale, 0, 0);
  draw.clearRect(0, 0, width, height);
  return { draw, width, height };
}

/// Draws the verdicts of a backend over a stretch of time.
export function drawStrip(canvas, name, { from, to }, axis = false) {
  const { draw, width, height } = canvasOf(canvas);
  if (width === 0) return;
  const ink = colours();
  const floor = axis ? height - 16 : height - 1;
  const at = (time) => ((time - from) / (to - from)) * width;
  if (axis) drawAxis(draw, { from, to, at, floor, width });
  for (const part of segments(name, from, to)) {
    const [left, right] = [at(part.from), at(part.to)];
    // What lasted a moment is seen all the same.
    const wide = Math.max(right - left, part.verdict === "down" || part.verdict === "degraded" ? 2 : 0.5);
    if (!part.verdict) {
      drawNothing(draw, left, wide, floor, ink);
      continue;
    }
    const high = (floor - 2) * HEIGHTS[part.verdict];
    draw.fillStyle = ink[part.verdict];
    if (part.verdict === "unknown") {
      draw.globalAlpha = 0.45;
      for (let x = left; x < left + wide; x += 4) draw.fillRect(x, floor - high, Math.min(2, left + wide - x), high);
      draw.globalAlpha = 1;
    } else draw.fillRect(left, floor - high, wide, high);
  }
}

/// Nobody recorded what was the case.
function drawNothing(draw, left, wide, floor, ink) {
  draw.fillStyle = ink.line;
  for (let x = left; x < left + wide; x += 6) draw.fillRect(x, floor - 2, Math.min(2, left + wide - x), 2);
}

const STEPS = [10e3, 30e3, 60e3, 5 * 60e3, 10 * 60e3, 30 * 60e3, 3600e3, 3 * 3600e3, 6 * 3600e3, 12 * 3600e3, 24 * 3600e3, 5 * 24 * 3600e3];

function drawAxis(draw, { from, to, at, floor, width }) {
  const ink = colours();
  const fitting = Math.max(2, Math.floor(width / 80));
  const step = STEPS.find((it) => (to - from) / it <= fitting) ?? STEPS.at(-1);
  const shift = new Date(from).getTimezoneOffset() * 60e3;
  draw.font = ink.font;
  draw.fillStyle = ink.soft;
  draw.textAlign = "center";
  for (let time = Math.ceil((from - shift) / step) * step + shift; time <= to; time += step) {
    const x = at(time);
    draw.fillStyle = ink.line;
    draw.fillRect(Math.round(x), 0, 1, floor + 3);
    draw.fillStyle = ink.soft;
    if (x > 20 && x < width - 20) draw.fillText(axisTime(time, to - from), x, floor + 14);
  }
}

/// Draws the last latencies of a server.
export function drawSparks(canvas, sparks) {
  const { draw, width, height } = canvasOf(canvas);
  if (width === 0 || sparks.length < 2) return;
  const ink = colours();
  const low = Math.min(...sparks);
  const high = Math.max(...sparks, low * 1.5, 0.01);
  const y = (value) => height - 2 - ((value - low) / (high - low || 1)) * (height - 5);
  const step = width / 39;
  const begin = width - (sparks.length - 1) * step;
  draw.strokeStyle = ink.accent;
  draw.lineWidth = 1.4;
  draw.lineJoin = "round";
  draw.beginPath();
  sparks.forEach((value, place) => draw.lineTo(begin + place * step, y(value)));
  draw.stroke();
}
