"""Which operators does ONNX Runtime run a model with in WebAssembly, after its optimizations?

    python benchmarks/web_operators.py model.onnx

The package cannot write the optimized graph, but its profiler prints every node that ran. A
QLinearConv in the table is a convolution in integers; a Conv between DequantizeLinear and
QuantizeLinear is one that was not fused.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np

from runtimes.data.timing_inputs import made_up_inputs
from runtimes.engines.onnxruntime_js.packages import find_node, find_package
from runtimes.onnx_files.load_save import load_model, model_inputs

SCRIPT = """
const { readFileSync } = require('node:fs');
const [folder, model, runs] = process.argv.slice(1);
const ort = require(folder);
ort.env.wasm.numThreads = 1;
(async () => {
  const session = await ort.InferenceSession.create(readFileSync(model), { enableProfiling: true });
  const feed = {};
  const kinds = { float32: Float32Array, int64: BigInt64Array, int32: Int32Array };
  for (const { name, type, dims, values } of JSON.parse(readFileSync(0))) {
    const numbers = type === 'int64' ? values.map(BigInt) : values;
    feed[name] = new ort.Tensor(type, kinds[type].from(numbers), dims);
  }
  for (let run = 0; run < Number(runs); run++) await session.run(feed);
  session.endProfiling();
})();
"""


def events(model: Path, batch: int, runs: int) -> list[dict[str, object]]:
    """What the profiler printed of so many runs."""
    feed = made_up_inputs(model_inputs(load_model(model)), batch).feed
    inputs = [
        {
            "name": name,
            "type": array.dtype.name,
            "dims": array.shape,
            "values": array.reshape(-1).tolist(),
        }
        for name, array in feed.items()
    ]
    folder = str(find_package("onnxruntime-web").folder)
    done = subprocess.run(
        [find_node(), "-e", SCRIPT, folder, str(model), str(runs)],
        input=json.dumps(inputs),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    found: list[dict[str, object]] = json.loads(done.stdout[done.stdout.index("[\n") :])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=60, help="the median of the second half counts")
    parser.add_argument("--nodes", action="store_true", help="also each node, slowest first")
    options = parser.parse_args()
    nodes: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events(options.model, options.batch, options.runs):
        told = event.get("args")
        name = str(event.get("name"))
        if event.get("cat") == "Node" and isinstance(told, dict) and name.endswith("_kernel_time"):
            nodes[str(told["op_name"]), name].append(float(str(event["dur"])))
    operators: dict[str, list[float]] = defaultdict(list)
    median = {key: float(np.median(times[len(times) // 2 :])) / 1e3 for key, times in nodes.items()}
    for (operator, _), milliseconds in median.items():
        operators[operator].append(milliseconds)
    for operator, one in sorted(operators.items(), key=lambda item: -sum(item[1])):
        print(f"{operator:28} {len(one):4} nodes {sum(one):9.3f} ms")
    if options.nodes:
        for (operator, name), one_node in sorted(median.items(), key=lambda item: -item[1]):
            print(f"{one_node:9.3f} ms {operator:18} {name.removesuffix('_kernel_time')}")


if __name__ == "__main__":
    main()
