// One model in ONNX Runtime for JavaScript, asked through frames; see frames.py for their form.
//
// node worker.mjs PACKAGE_FOLDER ANSWER_DESCRIPTOR
//
// Questions (the header's "do") and what the answers hold:
//   load     threads or null; the body is the model   inputs, outputs, threads
//   run      tensors, outputs (names)                 tensors
//   prepare  number, tensors, outputs                 nothing; they are kept for "time"
//   warm     number, seconds (at most)                runs
//   time     number, runs                             seconds, a list with one number a run
// An answer with "error" says what failed; the process goes on.

import { readSync, writeSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

const MOST_HEADER_BYTES = 16 * 2 ** 20;
const MOST_BODY_BYTES = 4 * 2 ** 30;
const [WARM_RUNS, WARM_SECONDS, WARM_GAIN] = [20, 0.2, 0.97];
const [folder, descriptor] = process.argv.slice(2);
const answers = Number(descriptor);

// A model that hangs blocks this thread, so that another one sees whether kilnx has died.
new Worker(
  `const parent = ${process.ppid};
   setInterval(() => { if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL'); }, 500);`,
  { eval: true },
).unref();

function read(count) {
  const data = Buffer.allocUnsafeSlow(count);
  for (let have = 0; have < count; ) {
    const got = readSync(0, data, have, Math.min(count - have, 2 ** 30));
    if (got === 0) process.exit(0); // kilnx has closed its end
    have += got;
  }
  return data;
}

function receive() {
  const prefix = read(16);
  const [header, body] = [prefix.readUInt32LE(4), Number(prefix.readBigUInt64LE(8))];
  if (prefix.toString('latin1', 0, 4) !== 'KNXF' || header > MOST_HEADER_BYTES || body > MOST_BODY_BYTES) {
    throw new Error('not a frame');
  }
  return [JSON.parse(read(header).toString()), read(body)];
}

function write(data) {
  for (let done = 0; done < data.length; ) {
    done += writeSync(answers, data, done, Math.min(data.length - done, 2 ** 30));
  }
}

function send(header, parts = []) {
  const text = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(16);
  prefix.write('KNXF', 'latin1');
  prefix.writeUInt32LE(text.length, 4);
  prefix.writeBigUInt64LE(BigInt(parts.reduce((sum, part) => sum + part.length, 0)), 8);
  for (const part of [prefix, text, ...parts]) write(part);
}

const ARRAYS = {
  float16: Uint16Array, float32: Float32Array, float64: Float64Array, bool: Uint8Array,
  int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array,
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array,
};

function texts(data) {
  const found = [];
  for (let start = 0; start < data.length; ) {
    const size = data.readUInt32LE(start);
    found.push(data.toString('utf8', start + 4, start + 4 + size));
    start += 4 + size;
  }
  return found;
}

function tensorsOf(ort, entries, body) {
  const feed = {};
  let start = 0;
  for (const { name, type, dims, bytes } of entries) {
    const data = body.subarray(start, start + bytes);
    start += bytes;
    // A copy, because a typed array must be aligned.
    const numbers = () => new ARRAYS[type](new Uint8Array(data).buffer);
    feed[name] = new ort.Tensor(type, type === 'string' ? texts(data) : numbers(), dims);
  }
  return feed;
}

function bytesOf(tensor) {
  if (tensor.type !== 'string') {
    return Buffer.from(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength);
  }
  return Buffer.concat(
    tensor.data.flatMap((text) => {
      const data = Buffer.from(text);
      const size = Buffer.alloc(4);
      size.writeUInt32LE(data.length);
      return [size, data];
    }),
  );
}

function sendTensors(found) {
  const parts = Object.values(found).map(bytesOf);
  const tensors = Object.entries(found).map(([name, { type, dims }], place) => ({
    name, type, dims, bytes: parts[place].length,
  }));
  send({ tensors }, parts);
}

let session;
const prepared = new Map();

async function timed(number) {
  const [tensors, outputs] = prepared.get(number);
  const before = process.hrtime.bigint();
  await session.run(tensors, outputs);
  return Number(process.hrtime.bigint() - before) / 1e9;
}

const DO = {
  async load({ threads }, model) {
    if (threads !== null) ort.env.wasm.numThreads = threads;
    session = await ort.InferenceSession.create(model, {
      graphOptimizationLevel: 'all',
      logSeverityLevel: 3,
      ...(threads === null ? {} : { intraOpNumThreads: threads, interOpNumThreads: 1 }),
      // Threads that keep spinning after a run would take cores from what is timed next to it.
      extra: { session: { force_spinning_stop: '1' } },
    });
    const { inputNames, outputNames } = session;
    send({ inputs: inputNames, outputs: outputNames, threads: ort.env.wasm.numThreads ?? null });
  },
  async run({ tensors, outputs }, body) {
    sendTensors(await session.run(tensorsOf(ort, tensors, body), outputs));
  },
  async prepare({ number, tensors, outputs }, body) {
    prepared.set(number, [tensorsOf(ort, tensors, body), outputs]);
    send({});
  },
  // V8 compiles WebAssembly quickly first, and what is hot well while it runs. This runs until the
  // best time has stood for a while.
  async warm({ number, seconds }) {
    let [best, since, spent, runs] = [Infinity, 0, 0, 0];
    while (spent < seconds && (since < WARM_RUNS || spent < WARM_SECONDS)) {
      const took = await timed(number);
      since = took < WARM_GAIN * best ? 0 : since + 1;
      [best, spent, runs] = [Math.min(best, took), spent + took, runs + 1];
    }
    send({ runs });
  },
  async time({ number, runs }) {
    const seconds = [];
    for (let run = 0; run < runs; run++) seconds.push(await timed(number));
    send({ seconds });
  },
};

// onnxruntime-node 1.30 cannot read the Float16Array of Node 24 and later; without one, float16 is
// held in a Uint16Array everywhere.
delete globalThis.Float16Array;
const ort = createRequire(join(folder, 'package.json'))(folder);
const { version } = JSON.parse(readFileSync(join(folder, 'package.json')));
send({ version, node: process.versions.node });
for (;;) {
  const [header, body] = receive();
  try {
    await DO[header.do](header, body);
  } catch (error) {
    send({ error: String(error?.message ?? error) });
  }
}
