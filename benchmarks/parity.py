"""Can the judge be trusted? Plants faults in real models, and times models against themselves.

Every fault (one weight, one bias, one pad, one activation) is planted alone in the exported model.
``check`` has to fail it without any tolerance given and ``compare_layers`` has to name its layer.

    python benchmarks/parity.py FOLDER -o parity.json [--models resnet_s mbv2] [--custom layers.py]

FOLDER holds one folder a model: a Keras file and ``test.npz``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from converter import convert
from converter.report.report import describe_machine
from runtimes import check, load_model, profile
from runtimes.keras_models.load import import_keras, load_custom_objects, load_keras_model
from runtimes.onnx_graph.layer_names import label_of
from runtimes.parity.layers.compare_layers import compare_layers
from runtimes.version import own_version

WEIGHTS = {"Conv": 1, "MatMul": 1, "Gemm": 1, "LSTM": 2, "GRU": 2, "Gather": 0}
BIASES = {"Conv": 2, "Gemm": 2, "LSTM": 3, "GRU": 3, "Add": 1}

Fault = Callable[[ir.Model], str | None]
"""Plants itself in a graph and names the layer; None where the graph has no place for it."""


def weight(model: ir.Model) -> str | None:
    return _change(model, WEIGHTS)


def bias(model: ir.Model) -> str | None:
    return _change(model, BIASES)


def pad(model: ir.Model) -> str | None:
    """Pads that are as many, on the wrong side."""
    for node in _from_the_middle(model):
        if node.op_type not in ("Conv", "MaxPool", "AveragePool") or "pads" not in node.attributes:
            continue
        pads = list(node.attributes["pads"].as_ints())
        half = len(pads) // 2
        if pads[0] + pads[half] > 0:
            moved = [pads[0] - 1, *pads[1:]] if pads[0] else [1, *pads[1:]]
            moved[half] = pads[half] + (1 if pads[0] else -1)
            node.attributes["pads"] = ir.AttrInt64s("pads", moved)
            return label_of(node)
    return None


def activation(model: ir.Model) -> str | None:
    for node in _from_the_middle(model):
        if node.op_type == "Relu":
            node.op_type = "LeakyRelu"
        elif node.op_type in ("Sigmoid", "Tanh"):
            node.op_type = {"Sigmoid": "HardSigmoid", "Tanh": "Softsign"}[node.op_type]
        elif node.op_type == "Clip":
            node.op_type = "Elu"
            node.resize_inputs(1)
        elif node.op_type == "LSTM":
            ways = (
                2
                if "direction" in node.attributes
                and (node.attributes["direction"].as_string() == "bidirectional")
                else 1
            )
            node.attributes["activations"] = ir.AttrStrings(
                "activations", ["HardSigmoid", "Tanh", "Tanh"] * ways
            )
        else:
            continue
        return label_of(node)
    return None


FAULTS: dict[str, Fault] = {"weight": weight, "bias": bias, "pad": pad, "activation": activation}


def _change(model: ir.Model, places: dict[str, int]) -> str | None:
    """Add half of the tensor's largest magnitude to the element in its middle."""
    for node in _from_the_middle(model):
        place = places.get(node.op_type)
        if place is None or len(node.inputs) <= place or node.inputs[place] is None:
            continue
        value = node.inputs[place]
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or len(value.uses()) > 1:
            continue
        array = tensor.numpy().copy()
        array.flat[array.size // 2] += 0.5 * max(np.abs(array).max(), 0.1)
        value.const_value = ir.tensor(array, name=value.name)
        return label_of(node)
    return None


def _from_the_middle(model: ir.Model) -> Iterator[ir.Node]:
    nodes = list(model.graph)
    yield from nodes[len(nodes) // 2 :]
    yield from reversed(nodes[: len(nodes) // 2])


def plant_all(reference: Any, file: Path, data: Path, scratch: Path) -> Iterator[dict[str, Any]]:
    for name, fault in FAULTS.items():
        model = load_model(file).clone()
        layer = fault(model)
        if layer is None:
            yield {"fault": name, "layer": None}
            continue
        ir.save(model, scratch / "faulty.onnx")
        verdict = check(reference, scratch / "faulty.onnx", data)
        start = time.perf_counter()
        found = compare_layers(reference, scratch / "faulty.onnx", data)
        yield {
            "fault": name,
            "layer": layer,
            "failed": not verdict.passed,
            "reason": verdict.reason,
            "named": found.culprit,
            "right": not verdict.passed and layer in (found.culprit or "").split(" + "),
            "layers_s": round(time.perf_counter() - start, 2),
        }


def against_itself(file: Path, data: Path, runs: int) -> dict[str, Any]:
    """How often the interval of a model's ratio to itself holds 1.00."""
    ratios = []
    for seed in range(runs):
        (batch,) = profile(file, against=file, data=data, threads=1, seed=seed).batches
        ratios.append((batch.ratio, batch.ratio_low, batch.ratio_high))
    inside = sum(low <= 1 <= high for _, low, high in ratios if low is not None)
    return {"runs": runs, "inside": inside, "ratios": ratios}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--models", nargs="*")
    parser.add_argument("--custom", type=Path)
    parser.add_argument("--self-runs", type=int, default=20)
    options = parser.parse_args()
    import_keras()
    custom = load_custom_objects(options.custom) if options.custom else None
    results: dict[str, Any] = {}
    wrong = 0
    for folder in sorted(path for path in options.folder.iterdir() if path.is_dir()):
        if options.models and folder.name not in options.models:
            continue
        files = [p for p in folder.iterdir() if p.suffix in (".keras", ".h5", ".hdf5")]
        data = folder / "test.npz"
        if len(files) != 1 or not data.is_file():
            continue
        with tempfile.TemporaryDirectory() as scratch:
            model = load_keras_model(files[0], custom_objects=custom)
            exported = Path(scratch) / "model.onnx"
            convert(model, exported)
            identical = check(model, exported, data)
            layers = compare_layers(model, exported, data)
            faults = list(plant_all(model, exported, data, Path(scratch)))
            timed = against_itself(exported, data, options.self_runs) if options.self_runs else None
        results[folder.name] = {
            "identical_passes": identical.passed,
            "identical_reason": identical.reason,
            "identical_culprit": layers.culprit,
            "layers": len(layers.layers),
            "faults": faults,
            "against_itself": timed,
        }
        wrong += not identical.passed or layers.culprit is not None
        wrong += sum(fault["layer"] is not None and not fault["right"] for fault in faults)
        told = {fault["fault"]: fault.get("right") for fault in faults}
        print(
            f"{folder.name}: identical {identical.passed}, {layers.culprit}, {told}",
            timed and timed["inside"],
        )
    document = {"kilnx": own_version(), "machine": describe_machine(), "models": results}
    options.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
