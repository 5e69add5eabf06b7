"""What quantization-aware training recovers where quantization alone fails: few bits for weights.

    python benchmarks/quantization_aware.py [--bits 4,3] [--seeds 3] [--epochs 8] [--json FILE]

Trains the small residual network of digits in float, quantizes it with weights of few bits and one
scale a tensor, trains that, and lets ONNX Runtime judge the files: top-1 on samples that nothing
was trained or calibrated on. A seed draws the split, the network and the order of the samples.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

import numpy as np  # noqa: E402
from digits_network import loss_of, trained_network  # noqa: E402

from converter import convert  # noqa: E402
from converter.demo import load_digits  # noqa: E402
from quantizers import QuantizedModel  # noqa: E402
from runtimes.engines.ort import OrtRuntime  # noqa: E402
from runtimes.keras_models.load import import_keras  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bits", default="4,3")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    print("seed bits scales     fp32  quantized  trained  seconds")
    for seed in range(options.seeds):
        for row in measured(seed, [int(one) for one in options.bits.split(",")], options.epochs):
            rows.append(row)
            print(
                f"{row['seed']:4} {row['bits']:4} {row['scales']:8} {row['fp32']:6.4f} "
                f"{row['quantized']:10.4f} {row['trained']:8.4f} {row['seconds']:8.1f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def measured(seed: int, widths: list[int], epochs: int) -> list[dict[str, Any]]:
    """One row for each width, with scales that are fixed and that are learned."""
    keras = import_keras()
    keras.utils.set_random_seed(seed)
    train, test = load_digits(seed)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "fp32.onnx", Path(folder) / "made.onnx"
        convert(trained_network(keras, train["image"], train["labels"]), source)
        fp32 = top1(source, test)
        for bits in widths:
            for learned in (False, True):
                start = time.monotonic()
                model = QuantizedModel(
                    source, train, weight_bits=bits, per_channel=False, learn_scales=learned
                )
                model.to_onnx(made, force=True)
                before = top1(made, test)
                model.compile(keras.optimizers.Adam(1e-3), loss_of(keras))
                model.fit(train["image"], train["labels"], batch_size=32, epochs=epochs, verbose=0)
                model.to_onnx(made, force=True)
                rows.append(
                    {
                        "seed": seed,
                        "bits": bits,
                        "scales": "learned" if learned else "fixed",
                        "fp32": fp32,
                        "quantized": before,
                        "trained": top1(made, test),
                        "seconds": time.monotonic() - start,
                    }
                )
    return rows


def top1(path: Path, test: dict[str, Any]) -> float:
    """The share of right answers of a file in ONNX Runtime."""
    with OrtRuntime(path, threads=1) as runtime:
        answers = runtime.run({"image": test["image"]})["digit"]
    return float(np.mean(answers.argmax(axis=1) == test["labels"]))


if __name__ == "__main__":
    sys.exit(main())
