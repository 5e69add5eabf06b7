"""What models do on samples that are not clean: a metric, under white noise of growing strength.

    python benchmarks/stress.py DATA MODEL.onnx... [--metric top1] [--noise 0,0.03,0.05,0.1,0.2]
                                [--seed 0] [--json FILE]

``DATA`` is labelled and was not trained on. Every model sees the same noise: of a deviation in the
units of the data, on every input of floats. Give the float model first, then what was made of it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from runtimes import Dataset  # noqa: E402
from runtimes.engines.batching import run_padded  # noqa: E402
from runtimes.engines.ort import OrtRuntime  # noqa: E402
from runtimes.metrics.metric import open_metric  # noqa: E402
from runtimes.onnx_files.load_save import load_model, model_inputs, model_outputs  # noqa: E402
from runtimes.stress.noise import Noise, NoisyData, Spread  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--metric", default="top1")
    parser.add_argument("--noise", default="0,0.03,0.05,0.1,0.2", help="deviations, in units")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    strengths = [float(one) for one in options.noise.split(",")]
    rows = []
    print(f"{options.metric:40}" + "".join(f"{one:>9g}" for one in strengths))
    for path in options.models:
        values = [score(path, options, strength) for strength in strengths]
        rows.append({"model": str(path), "noise": strengths, options.metric: values})
        print(f"{str(path)[-40:]:40}" + "".join(f"{one:9.4f}" for one in values), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def score(path: Path, options: argparse.Namespace, strength: float) -> float:
    """The metric of one model under noise of this deviation."""
    model = load_model(path)
    data = Dataset.open(options.data, inputs=model_inputs(model))
    unit = Spread(np.ones(1), np.full(1, -np.inf), np.full(1, np.inf))
    floats = [one.name for one in model_inputs(model) if one.dtype.kind == "f"]
    noise = Noise(dict.fromkeys(floats, unit), strength, share=1.0, seed=options.seed)
    outputs = [one.name for one in model_outputs(model)]
    metric = open_metric(options.metric, outputs, data.label_names)
    with OrtRuntime(path, threads=1) as runtime:
        for batch in NoisyData(data, noise).batches(32):
            metric.update(run_padded(runtime, batch.feed), batch.labels, batch.indices)
    return float(metric.value())


if __name__ == "__main__":
    sys.exit(main())
