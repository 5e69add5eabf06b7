// The monitor's state of one model: who answers, alarms, and how much evidence each test has.

import { element, filled, number, percent } from "./elements.js";

const TITLES = {
  drift: ["Inputs", "next to the held-out data"],
  saturation: ["Saturation", "activations beyond the INT8 ranges"],
  shadow: ["Shadow", "compared with the fp32 original"],
  outputs: ["Outputs", "how the answers are spread"],
  latency: ["Latency", ""],
  errors: ["Errors", ""],
  metric: ["Labels", "from feedback"],
};
const HIGH = 0.5;

export function whoAnswers(status) {
  if (status === null) return null;
  return status.answers === "fp32"
    ? { kind: "bad", text: "rolled back: fp32 answers" }
    : { kind: "good", text: "the compressed model answers" };
}

export function monitorParts(status) {
  if (status === null) {
    return [element("p", { class: "empty" }, "This model came without a reference, so there is nothing to compare it with. ",
      element("code", {}, "kilnx package"), " makes a bundle that carries one.")];
  }
  return [alarms(status), counts(status), ...groups(status), metric(status)].filter(Boolean);
}

function alarms({ alarms: found = [] }) {
  if (!found.length) return null;
  return element("ul", { class: "alarms", role: "alert" }, ...found.map((one) =>
    element("li", {}, element("strong", {}, heading(one)), ` ${one.text ?? ""}`, one.since ? ` (since ${clock(one.since)})` : "")));
}

function heading({ kind, subject }) {
  const title = TITLES[kind]?.[0] ?? kind;
  return subject ? `${title}, ${subject}:` : `${title}:`;
}

function clock(time) {
  const found = new Date(time);
  return Number.isNaN(found.valueOf()) ? String(time) : found.toLocaleTimeString();
}

function counts(status) {
  const pairs = [["requests", status.requests], ["looked at", status.looked_at], ["failed", status.failed]];
  if (status.shadow) pairs.push(["disagree", percent(status.shadow.disagreement)], ["SQNR", decibels(status.shadow.sqnr_db)]);
  const shown = pairs.filter(([, value]) => value !== undefined && value !== null);
  return element("dl", { class: "numbers" }, ...shown.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, typeof value === "number" ? value.toLocaleString("en") : value))));
}

function decibels(value) {
  return value === null || value === undefined ? "–" : `${number(value)} dB`;
}

function groups({ tests = [] }) {
  const kinds = [...new Set(tests.map((one) => one.kind))];
  return kinds.map((kind) => {
    const [title, words] = TITLES[kind] ?? [kind, ""];
    const rows = tests.filter((one) => one.kind === kind).map(row);
    return element("section", { class: "group" },
      element("h3", {}, title, element("span", {}, words)), element("ul", { class: "tests" }, ...rows));
  });
}

function row({ subject, evidence, alarm, text }) {
  const kind = alarm ? "alarm" : evidence >= HIGH ? "high" : "calm";
  const words = [alarm ? "alarm" : `${Math.round(100 * Math.max(evidence, 0))}% of the evidence for an alarm`, text].filter(Boolean);
  return element("li", { class: kind },
    element("span", { class: "top" }, element("span", { title: subject }, subject || "all"), element("span", {}, words.at(-1))),
    filled("meter", alarm ? 1 : evidence),
    element("span", { class: "hidden" }, words[0]));
}

function metric({ metric: found }) {
  if (!found) return null;
  const proven = found.proven === null || found.proven === undefined ? "" : `; proven ${number(found.proven, 4)}`;
  return element("section", { class: "group" },
    element("h3", {}, TITLES.metric[0], element("span", {}, TITLES.metric[1])),
    element("p", { class: "help" }, `${found.name} ${number(found.value, 4)} (95% interval ${number(found.low, 3)} to ${number(found.high, 3)}) of ${found.count} labels${proven}`));
}
