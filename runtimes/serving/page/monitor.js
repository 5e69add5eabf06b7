// The monitor's state of one model: who answers, which alarms stand, and how much evidence each
// test has gathered. An alarm is given when the wealth of a bet against "as proven" reaches its
// threshold, so that the bars are logarithmic: full at the alarm.

import { element, filled, number, percent } from "./elements.js";

const GROUPS = [
  ["inputs", "Inputs", "next to held-out data"],
  ["outputs", "Outputs", "next to held-out data"],
  ["saturation", "Saturation", "beyond the INT8 ranges"],
  ["shadow", "Shadow", "next to the fp32 original"],
];
const FEATURES = 3;
const HIGH = 0.5;
const EVENTS = 4;

export function whoAnswers(status) {
  if (status === null) return null;
  return status.uses_fp32
    ? { kind: "bad", text: `rolled back: ${status.state} answers` }
    : { kind: "good", text: "the compressed model answers" };
}

export function monitorParts(status) {
  if (status === null) {
    return [element("p", { class: "empty" }, "This model came without a reference, so there is nothing to compare it with. ",
      element("code", {}, "kilnx package"), " makes a bundle that carries one.")];
  }
  const groups = GROUPS.filter(([name]) => status[name]?.threshold !== undefined);
  return [standing(status), counts(status), ...groups.map((group) => test(status, ...group)),
    metric(status.metric), events(status.alarms), notes(status.notes)].filter(Boolean);
}

function standing({ standing: groups = [] }) {
  if (!groups.length) return null;
  const title = (name) => GROUPS.find(([group]) => group === name)?.[1] ?? name;
  return element("p", { class: "notice bad alarms", role: "alert" },
    element("strong", {}, `Alarm: ${groups.map(title).join(", ")}`), ". What is served no longer looks like what was proven.");
}

function counts({ cost = {}, errors = {}, shadow }) {
  const failed = Object.values(errors).reduce((sum, count) => sum + count, 0);
  const pairs = [["requests", whole(cost.requests)], ["looked at", whole(cost.recorded)], ["failed", whole(failed)]];
  if (shadow?.samples) pairs.push(["disagree", percent(shadow.disagreement)], ["SQNR", decibels(shadow.sqnr_db)]);
  return element("dl", { class: "numbers" }, ...pairs.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

function whole(count) {
  return (count ?? 0).toLocaleString("en");
}

function decibels(value) {
  return value === null || value === undefined ? "–" : `${number(value)} dB`;
}

function test(status, name, title, words) {
  const found = status[name];
  const share = evidence(found, found.threshold);
  // A feature whose bet has won nothing has nothing to say.
  const telling = (found.features ?? []).filter((one) => one.wealth === null || one.wealth > 1);
  const rows = telling.slice(0, FEATURES).map((one) => feature(one, found.threshold));
  return element("section", { class: "group" },
    element("h3", {}, title, element("span", {}, words)),
    element("ul", { class: "tests" }, verdict(found, share), ...rows));
}

// The test of the group as a whole.
function verdict(found, share) {
  const text = found.alarm ? "alarm" : found.first_alarm !== null ? "was in alarm" : found.observations ? "as proven" : "nothing seen yet";
  return element("li", { class: kind(found.alarm, share) },
    element("span", { class: "top" }, element("span", {}, `${whole(found.observations)} looked at`), element("span", {}, text)),
    filled("meter", found.alarm ? 1 : share),
    element("span", { class: "hidden" }, `${Math.round(100 * share)}% of the evidence for an alarm`));
}

function feature(one, threshold) {
  const text = `${one.bin}: ${percent(one.recent)} of late, ${percent(one.expected)} proven`;
  return element("li", { class: `one ${kind(false, evidence(one, threshold))}` },
    element("span", { class: "top" }, element("span", {}, one.feature), element("span", {}, text)));
}

// What has been won, between nothing and what an alarm takes; JSON has null for infinity.
function evidence({ wealth }, threshold) {
  if (wealth === null) return 1;
  return wealth > 1 ? Math.min(Math.log(wealth) / Math.log(threshold), 1) : 0;
}

function kind(alarm, share) {
  return alarm ? "alarm" : share >= HIGH ? "high" : "calm";
}

function metric(found) {
  if (!found?.labels) return null;
  const interval = found.low === null ? "" : ` (95% interval ${number(found.low)} to ${number(found.high)})`;
  const proven = found.reported === null ? "" : `; proven ${number(found.reported, 4)}`;
  return element("section", { class: "group" },
    element("h3", {}, "Labels", element("span", {}, "from feedback")),
    element("p", { class: "help" }, `${found.name} ${number(found.served, 4)}${interval} of ${whole(found.labels)} labels${proven}`));
}

function events(alarms) {
  const last = (alarms?.events ?? []).slice(-EVENTS).reverse();
  if (!last.length) return null;
  return element("section", { class: "group" },
    element("h3", {}, "Events", element("span", {}, `${whole(alarms.count)} ${alarms.count === 1 ? "alarm" : "alarms"} so far`)),
    element("ul", { class: "tests" }, ...last.map((one) => element("li", {},
      element("span", { class: "top" },
        element("span", {}, [one.event, one.group].filter(Boolean).join(": ")), element("span", {}, clock(one.time)))))));
}

function clock(time) {
  const found = new Date(time);
  return Number.isNaN(found.valueOf()) ? String(time ?? "") : found.toLocaleString();
}

function notes(all = []) {
  return all.length ? element("p", { class: "help group" }, all.join("; ")) : null;
}
