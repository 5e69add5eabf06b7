// Runs the models of /plan.json in rounds, each model once a round in random order, and posts the
// milliseconds of every run and the first output of each model.

import * as ort from '/ort/ort.wasm.min.mjs';

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int32: Int32Array, int64: BigInt64Array,
  int8: Int8Array, uint8: Uint8Array, bool: Uint8Array,
};

const bytes = async (path) => (await fetch(path)).arrayBuffer();

function shuffled(count) {
  const order = [...Array(count).keys()];
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1));
    [order[last], order[other]] = [order[other], order[last]];
  }
  return order;
}

async function measure() {
  const plan = await (await fetch('/plan.json')).json();
  ort.env.wasm.wasmPaths = '/ort/';
  ort.env.wasm.numThreads = plan.threads;
  const feed = {};
  for (const { name, type, dims, path } of plan.inputs) {
    feed[name] = new ort.Tensor(type, new ARRAYS[type](await bytes(path)), dims);
  }
  const sessions = [];
  for (const path of plan.models) {
    sessions.push(await ort.InferenceSession.create(await bytes(path), plan.options));
  }
  const outputs = [];
  for (const session of sessions) {
    const found = Object.values(await session.run(feed))[0];
    outputs.push(Array.from(found.data, Number));
  }
  const times = sessions.map(() => []);
  for (let round = -plan.warm_up; round < plan.rounds; round++) {
    for (const place of shuffled(sessions.length)) {
      const before = performance.now();
      await sessions[place].run(feed);
      if (round >= 0) times[place].push(performance.now() - before);
    }
  }
  return {
    outputs, times, threads: ort.env.wasm.numThreads, isolated: crossOriginIsolated,
    agent: navigator.userAgent, version: ort.env.versions.web,
  };
}

let result;
try {
  result = await measure();
} catch (error) {
  result = { error: String(error?.stack ?? error) };
}
await fetch('/result', { method: 'POST', body: JSON.stringify(result) });
