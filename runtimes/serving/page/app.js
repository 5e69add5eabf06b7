// The page: picks a model, offers what fits its inputs, sends requests, and looks at the server.

import { ApiError, call, modelPath, token } from "./api.js";
import { drawn } from "./answer.js";
import { by, element, say, show } from "./elements.js";
import { latencies, latencyParts, serverTimes } from "./latency.js";
import { monitorParts, whoAnswers } from "./monitor.js";
import { feedbackForm } from "./feedback.js";
import { inputForm } from "./inputs.js";
import { askToken } from "./ask.js";

const EVERY_MS = 2000;
const MANY = 50;
const MOST_CLASSES = 4096;

const times = latencies();
const form = inputForm({ onready: () => send(1, { quietly: true }), onerror: (text) => say(by("error"), text) });
const feedback = feedbackForm(watched);
let models = [];
let chosen = null; // {name, version}
let metadata = null;
let statistics = null;
let busy = false;
let numberOf = 0;

// Names of outputs that look like scores of classes, and are asked for with their labels.
function classOutputs() {
  const found = metadata.outputs.filter(({ datatype, shape }) =>
    datatype.startsWith("FP") && shape.length === 2 && shape[1] > 1 && shape[1] <= MOST_CLASSES);
  return new Map(found.map(({ name, shape }) => [name, shape[1]]));
}

function requestOf(inputs, id) {
  const asked = inputs.every((one) => one.shape?.[0] === 1) ? classOutputs() : new Map();
  const outputs = metadata.outputs.map(({ name }) =>
    (asked.has(name) ? { name, parameters: { classification: asked.get(name) } } : { name }));
  return { asked, body: JSON.stringify({ id, inputs, outputs }) };
}

async function send(count, { quietly = false } = {}) {
  if (busy || metadata === null) return;
  let inputs;
  try {
    inputs = form.inputs();
  } catch (error) {
    if (!quietly) say(by("error"), error.message);
    return;
  }
  say(by("error"), "");
  setBusy(true);
  try {
    let last;
    for (let step = 0; step < count; step += 1) {
      last = await infer(inputs);
      times.add(last.ms);
      if (count > 1 && step % 5 === 4) showLatency();
    }
    showAnswer(last);
  } catch (error) {
    failed(error, by("error"));
  } finally {
    setBusy(false);
    showLatency();
    showCurl();
  }
}

async function infer(inputs) {
  const id = `page-${Date.now().toString(36)}-${(numberOf += 1)}`;
  const { asked, body } = requestOf(inputs, id);
  const { found, ms } = await call(`${modelPath(chosen)}/infer`, { method: "POST", body });
  return { found, ms, asked, id };
}

function showAnswer({ found, ms, asked, id }) {
  const { parts, said } = drawn(found, ms, asked);
  by("answer").replaceChildren(...parts);
  by("spoken").textContent = said;
  feedback.offer(id, found, asked);
}

function showLatency() {
  by("latency").replaceChildren(...latencyParts(times.times, serverTimes(statistics)));
  const asked = statistics?.inference_count;
  by("latency-count").textContent = asked ? `${asked.toLocaleString("en")} answered by the server` : "";
}

function showCurl() {
  let inputs;
  try {
    inputs = form.inputs();
  } catch {
    return;
  }
  const { body } = requestOf(inputs, undefined);
  const secret = token.get() ? " -H \"Authorization: Bearer $KILNX_TOKEN\"" : "";
  const url = new URL(`${modelPath(chosen)}/infer`, document.baseURI).href;
  by("curl").textContent = `curl ${url}${secret} -d '${body.replaceAll("'", "'\\''")}'`;
}

function setBusy(value) {
  busy = value;
  for (const id of ["send", "many"]) by(id).disabled = value || metadata === null;
  by("answer").setAttribute("aria-busy", String(value));
}

function failed(error, place) {
  if (error instanceof ApiError && error.status === 401) {
    askToken(error.message, token.get() !== null).then(start);
    return;
  }
  say(place, error.message);
}

async function choose(model) {
  chosen = model;
  metadata = statistics = null;
  times.clear();
  feedback.hide();
  by("answer").replaceChildren(element("p", { class: "empty" }, "The answer appears here."));
  setBusy(false);
  try {
    metadata = (await call(modelPath(model))).found;
    say(by("problem"), "");
  } catch (error) {
    failed(error, by("problem"));
    return;
  }
  const tensor = ({ name, datatype, shape }) => [element("b", {}, name), ` ${datatype} ${shape.map((size) => (size < 0 ? "any" : size)).join(" × ")}`];
  const list = (all) => all.flatMap((one, place) => (place ? [", ", ...tensor(one)] : tensor(one)));
  by("signature").replaceChildren(...list(metadata.inputs), "  →  ", ...list(metadata.outputs));
  form.fit(metadata.inputs);
  setBusy(false);
  showCurl();
  await watch();
}

async function start() {
  show(by("token-button"), token.get() !== null);
  try {
    const server = (await call("v2")).found;
    by("version").textContent = `${server.name} ${server.version}`;
    models = (await call("v2/repository/index", { method: "POST", body: "{}" })).found.filter((one) => one.state === "READY");
  } catch (error) {
    setState(error.status ? "good" : "bad", error.status ? "waiting for a token" : "unreachable");
    failed(error, by("problem"));
    return;
  }
  say(by("problem"), models.length ? "" : "The server has no model that is ready. Start it with one: kilnx serve model.kilnx");
  const name = (one) => (one.version ? `${one.name} · version ${one.version}` : one.name);
  by("model").replaceChildren(...models.map((one, place) => element("option", { value: place }, name(one))));
  by("model").disabled = !models.length;
  setState("good", "ready");
  if (models.length) await choose(models[0]);
}

function setState(kind, text) {
  by("state").className = `state ${kind}`;
  if (by("state-text").textContent !== text) by("state-text").textContent = text;
}

let monitored = null;

function watched() {
  return monitored;
}

// Looks at the monitor and the statistics once; a server that is gone is said in the header.
async function watch() {
  if (chosen === null) return;
  const model = chosen;
  try {
    const [monitor, stats] = await Promise.all([
      call("monitor").then(({ found }) => found).catch(notFound),
      call(`${modelPath(model)}/stats`).then(({ found }) => found).catch(notFound),
    ]);
    if (model !== chosen) return;
    statistics = stats?.model_stats?.[0] ?? null;
    monitored = monitor?.models?.[model.name]?.[model.version] ?? null;
  } catch (error) {
    setState("bad", error.status ? "failing" : "unreachable");
    return;
  }
  setState("good", "ready");
  by("monitor").replaceChildren(...monitorParts(monitored));
  const who = whoAnswers(monitored);
  show(by("who"), who !== null);
  if (who) Object.assign(by("who"), { className: `pill ${who.kind}`, textContent: who.text });
  showLatency();
}

function notFound(error) {
  if (error.status === 404 || error.status === 401) return null;
  throw error;
}

by("model").addEventListener("change", (event) => choose(models[event.target.value]));
by("send").addEventListener("click", () => send(1));
by("many").addEventListener("click", () => send(MANY));
by("clear").addEventListener("click", () => {
  form.clear();
  say(by("error"), "");
});
by("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(by("curl").textContent);
  by("copy").textContent = "Copied";
  setTimeout(() => { by("copy").textContent = "Copy"; }, 1500);
});
by("token-button").addEventListener("click", () => {
  token.forget();
  location.reload();
});
setInterval(() => { if (!document.hidden && !busy) watch(); }, EVERY_MS);
start();
