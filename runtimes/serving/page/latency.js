// Round trips of this page's requests: a line of the last ones, their percentiles, and next to them
// what the server itself says that it spent.

import { element, number, shape } from "./elements.js";

const KEPT = 200;
const SHOWN = 60;
const [WIDTH, HEIGHT] = [300, 88];

export function latencies() {
  let times = [];
  return {
    add(ms) {
      times = [...times, ms].slice(-KEPT);
    },
    clear() {
      times = [];
    },
    get times() {
      return times;
    },
  };
}

// The nearest rank: always a request that there was.
export function quantile(times, share) {
  const ordered = [...times].sort((a, b) => a - b);
  return ordered[Math.max(0, Math.ceil(share * ordered.length) - 1)];
}

export function latencyParts(times, server) {
  if (!times.length && !server) return [element("p", { class: "empty" }, "Send a request to see how long it takes.")];
  const parts = [];
  if (times.length) {
    const [p50, p90, p99] = [0.5, 0.9, 0.99].map((share) => quantile(times, share));
    parts.push(spark(times.slice(-SHOWN), p50), numbers([["p50", p50], ["p90", p90], ["p99", p99], ["last", times.at(-1)]]));
  }
  if (server) parts.push(numbers([["model", server.compute], ["waiting", server.queue], ["on the server", server.total]]));
  return parts;
}

function numbers(pairs) {
  return element("dl", { class: "numbers" }, ...pairs.map(([name, ms]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, number(ms), element("small", {}, " ms")))));
}

function spark(times, p50) {
  const most = Math.max(...times) || 1;
  const step = WIDTH / Math.max(times.length - 1, 1);
  const points = times.map((ms, place) => [place * step, HEIGHT - 2 - (HEIGHT - 8) * (ms / most)]);
  if (points.length === 1) points.push([WIDTH, points[0][1]]);
  const line = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
  const picture = shape("svg", {
    class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `Round trips of the last ${times.length} requests, from 0 to ${number(most)} ms; half of them within ${number(p50)} ms`,
  },
  shape("polygon", { class: "area", points: `0,${HEIGHT} ${line} ${WIDTH},${HEIGHT}` }),
  shape("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }),
  shape("polyline", { class: "line", points: line }));
  const axis = element("p", { class: "axis" },
    element("span", {}, `last ${times.length} round trips`), element("span", {}, `highest ${number(most)} ms`));
  return element("div", {}, picture, axis);
}

// Milliseconds a request since the model was loaded, of the statistics extension; null before any.
export function serverTimes(statistics) {
  const found = statistics?.inference_stats;
  if (!found?.success?.count) return null;
  const mean = (one) => (one?.count ? one.ns / one.count / 1e6 : 0);
  return { compute: mean(found.compute_infer), queue: mean(found.queue), total: mean(found.success) };
}
