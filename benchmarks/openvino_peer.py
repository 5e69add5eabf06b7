"""NNCF on one model, in an environment of its own; started by ``benchmarks/openvino_int8.py``.

NNCF is what OpenVINO's own documentation quantizes with. Its default preset has symmetric
activations, ``mixed`` asymmetric ones; ``transformer`` is what it recommends for transformers.
"""

from __future__ import annotations

import argparse
from typing import Any

import nncf
import numpy as np
import openvino

CHOICES: dict[str, dict[str, Any]] = {
    "default": {},
    "mixed": {"preset": nncf.QuantizationPreset.MIXED},
    "transformer": {"model_type": nncf.ModelType.TRANSFORMER},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "data", "output"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--choice", choices=list(CHOICES), default="default")
    parser.add_argument("--samples", type=int, default=200)
    args = parser.parse_args()
    model = openvino.Core().read_model(args.model)
    kinds = {port.get_any_name(): port.get_element_type().to_dtype() for port in model.inputs}
    arrays = {k: v for k, v in np.load(args.data).items() if not k.startswith("labels")}
    if len(kinds) == 1:
        arrays = {next(iter(kinds)): next(iter(arrays.values()))}
    rows = {name: arrays[name].astype(kind)[: args.samples] for name, kind in kinds.items()}
    count = len(next(iter(rows.values())))
    data = nncf.Dataset(range(count), lambda row: {n: a[row : row + 1] for n, a in rows.items()})
    quantized = nncf.quantize(model, data, subset_size=count, **CHOICES[args.choice])
    openvino.save_model(quantized, args.output, compress_to_fp16=False)


if __name__ == "__main__":
    main()
