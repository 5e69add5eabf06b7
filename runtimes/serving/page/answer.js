// An answer of the server: classes as bars, single numbers large, everything else as values.

import { element, filled, number, percent } from "./elements.js";

const FIRST = 10;
const VALUES = 400;

// Classes of an output that answered the classification extension, best first.
export function classes(output) {
  return output.data.map((entry) => {
    const [value, index, ...label] = String(entry).split(":");
    return { value: Number(value), index: Number(index), label: label.join(":") || index };
  });
}

// What the answer is, in elements for the page and in a sentence for a screen reader.
export function drawn(answer, ms, asked) {
  const parts = [];
  const said = [];
  answer.outputs.forEach((output, place) => {
    const found = asked.has(output.name) ? classes(output) : null;
    const { part, text } = found ? ranking(output, found, place === 0) : plain(output);
    parts.push(part);
    said.push(text);
  });
  const who = answer.parameters?.fp32 ? "answered by the fp32 original" : null;
  const facts = [`${number(ms)} ms round trip`, `model ${answer.model_name}${answer.model_version ? ` ${answer.model_version}` : ""}`, who];
  parts.push(element("p", { class: "facts" }, ...facts.filter(Boolean).map((text) => element("span", {}, text))));
  return { parts, said: `${said.join(" ")} ${number(ms)} milliseconds.` };
}

function ranking(output, found, large) {
  const { shares, note } = asShares(found);
  const best = found[0];
  const rows = found.slice(0, FIRST).map((one, place) =>
    element("li", { class: place === 0 ? "first" : null },
      element("span", { class: "name", title: one.label }, one.label),
      filled("bar", shares[place]),
      element("span", { class: "value" }, percent(shares[place]))));
  const more = found.length > FIRST ? element("p", { class: "help" }, `and ${found.length - FIRST} more classes`) : null;
  const winner = large
    ? element("p", { class: "winner" }, element("b", {}, best.label), element("span", { class: "help" }, `${percent(shares[0])} ${note}`))
    : null;
  return {
    part: element("div", { class: "output" }, heading(output.name, `${found.length} classes`), winner, element("ol", { class: "bars" }, ...rows), more),
    text: `${output.name}: ${best.label}, ${percent(shares[0])}.`,
  };
}

// Probabilities stay what they are; other scores are put through a softmax, and that is said.
function asShares(found) {
  const values = found.map((one) => one.value);
  const total = values.reduce((sum, value) => sum + value, 0);
  if (values.every((value) => value >= 0 && value <= 1) && Math.abs(total - 1) < 0.02) {
    return { shares: values, note: "" };
  }
  const most = Math.max(...values);
  const powers = values.map((value) => Math.exp(value - most));
  const all = powers.reduce((sum, value) => sum + value, 0);
  return { shares: powers.map((value) => value / all), note: `by softmax; score ${number(found[0].value)}` };
}

function plain(output) {
  const count = output.data.length;
  if (count === 1) {
    const text = typeof output.data[0] === "number" ? number(output.data[0], 5) : String(output.data[0]);
    return {
      part: element("div", { class: "output" }, title(output), element("p", { class: "winner" }, element("b", {}, text))),
      text: `${output.name}: ${text}.`,
    };
  }
  const shown = output.data.slice(0, VALUES).map((value) => (typeof value === "number" ? number(value, 5) : JSON.stringify(value)));
  if (count > VALUES) shown.push(`… ${count - VALUES} more`);
  const values = element("pre", { class: "values", tabindex: "0", "aria-label": `Values of ${output.name}` }, shown.join("  "));
  return {
    part: element("div", { class: "output" }, title(output), values),
    text: `${output.name}: ${count} values.`,
  };
}

function title({ name, datatype, shape }) {
  return heading(name, `${datatype} ${shape.join(" × ")}`);
}

function heading(name, text) {
  return element("h4", {}, element("b", {}, name), ` ${text}`);
}
