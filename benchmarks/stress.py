"""What models do on samples that are not clean: a metric under every perturbation, next to fp32.

    python benchmarks/stress.py DATA MODEL... [--metric top1] [--noise 0,0.03,0.05,0.1,0.2]
                                [--seed 0] [--json FILE]

``DATA`` is labelled and was not trained on; ``digits`` are the images that judge in ``kilnx demo``.
A ``MODEL`` is an ONNX file, the float one first, or a folder that ``compress`` wrote. Every model
sees the same samples. ``--noise``: instead, white noise alone, of deviations in units of the data.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from runtimes import Dataset, evaluate  # noqa: E402
from runtimes.onnx_files.load_save import load_model, model_inputs  # noqa: E402
from runtimes.onnx_graph.lookups import looked_up_inputs  # noqa: E402
from runtimes.parity.ladder import measure_ladder  # noqa: E402
from runtimes.stress.noise import Noise, Spread  # noqa: E402
from runtimes.stress.rungs import rungs_for  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--metric", default="top1")
    parser.add_argument("--noise", help="deviations, in units")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    models = [file for path in options.models for file in files_of(path)]
    inputs = model_inputs(load_model(models[0]))
    data = Dataset.open(samples_of(options.data), inputs=inputs)
    samples = dict(perturbed(data, models[0], options))
    borne = {rung.name for rung in measure_ladder(models[0], data, options.metric).rungs}
    rows = []
    print(f"{options.metric:24}" + "".join(f"{str(path)[-21:]:>22}" for path in models))
    for name, changed in samples.items():
        values = [evaluate(path, changed, options.metric) for path in models]
        mark = " *" if name in borne else ""
        rows.append({"under": name, "judged": name in borne, options.metric: values})
        print(f"{name + mark:24}" + "".join(f"{one:22.4f}" for one in values), flush=True)
    if not options.noise:
        print("* the harshest of its kind that the first model bears, by which others are judged")
    if options.json:
        document = {"models": [str(path) for path in models], "rungs": rows}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


def files_of(path: Path) -> list[Path]:
    return [path / "fp32.onnx", path / "model.onnx"] if path.is_dir() else [path]


def samples_of(name: str) -> object:
    if name != "digits":
        return Path(name)
    from converter.demo import load_digits

    return load_digits(0)[1]


def perturbed(
    data: Dataset, model: Path, options: argparse.Namespace
) -> Iterator[tuple[str, Dataset]]:
    """The data, clean and under each perturbation."""
    yield "clean", data
    if options.noise:
        unit = Spread(np.ones(1), np.full(1, -np.inf), np.full(1, np.inf))
        floats = [one.name for one in model_inputs(load_model(model)) if one.dtype.kind == "f"]
        for strength in map(float, options.noise.split(",")):
            spreads = dict.fromkeys(floats, unit)
            noise = Noise(spreads, strength, share=1.0, seed=options.seed)
            yield f"noise of {strength:g} units", data.changed(noise.on)
        return
    looked_up = looked_up_inputs(load_model(model))
    for rungs in rungs_for(data, looked_up, options.seed).values():
        for rung in rungs:
            yield rung.name, data.changed(rung.on)


if __name__ == "__main__":
    sys.exit(main())
