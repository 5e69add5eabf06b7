"""TensorFlow Model Optimization on the task of ``quantization_aware.py``, in its own environment.

    python benchmarks/quantization_aware_peer.py [--bits 4,3] [--seeds 3] [--cache FOLDER]

It needs Keras 2 (TensorFlow 2.14), so the network is trained there anew, with the same data,
layers, epochs and rates. Weights have few bits and one scale a tensor, activations 8 bits, as
there (its own scheme refuses a normalization behind a layer of few bits, so these stay in float);
its figures are those of its own emulation of them in Keras. "quantized" is what it answers
once its ranges have seen the training data and before a weight moves. Started with ``--worker`` in
the peer's environment, which the first run makes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from digits_network import loss_of, trained_network
from peer_environment import python_with

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("tensorflow-cpu==2.14.1", "tensorflow-model-optimization==0.8.*", "numpy<2")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bits", default="4,3")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "kilnx-peers")
    parser.add_argument("--worker", type=Path, help="the data of one seed; used by the script")
    options = parser.parse_args()
    widths = [int(one) for one in options.bits.split(",")]
    if options.worker:
        return work(options.worker, widths, options.epochs)
    python = python_with(PACKAGES, options.cache / "tfmot")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    print("seed bits    fp32  quantized  trained  seconds")
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / f"{seed}.npz"
            save_data(seed, data)
            command = [python, __file__, "--worker", str(data), "--bits", options.bits]
            command += ["--epochs", str(options.epochs)]
            subprocess.run(command, check=True, env=environment)
    return 0


def save_data(seed: int, path: Path) -> None:
    sys.path.insert(0, str(ROOT))
    from converter.demo import load_digits

    train, test = load_digits(seed)
    np.savez(path, x=train["image"], y=train["labels"], a=test["image"], b=test["labels"])


def work(path: Path, widths: list[int], epochs: int) -> int:
    """In the peer's environment: a line for each width."""
    from tensorflow_model_optimization.python.core.keras.compat import keras

    data = np.load(path)
    seed = int(path.stem)
    keras.utils.set_random_seed(seed)
    model = trained_network(keras, data["x"], data["y"])
    fp32 = top1(model, data)
    for bits in widths:
        start = time.monotonic()
        aware = quantized(model, bits)
        aware.compile(keras.optimizers.Adam(0.0), loss_of(keras))
        aware.fit(data["x"], data["y"], batch_size=32, epochs=1, verbose=0)
        before = top1(aware, data)
        aware.compile(keras.optimizers.Adam(1e-3), loss_of(keras))
        aware.fit(data["x"], data["y"], batch_size=32, epochs=epochs, verbose=0)
        seconds = time.monotonic() - start
        print(
            f"{seed:4} {bits:4} {fp32:7.4f} {before:10.4f} {top1(aware, data):8.4f} {seconds:8.1f}",
            flush=True,
        )
    return 0


def quantized(model: Any, bits: int) -> Any:
    """``model`` with emulated quantization; its weights have ``bits``, one scale a tensor."""
    import tensorflow_model_optimization as tfmot

    tools = tfmot.quantization.keras

    class FewBits(tools.QuantizeConfig):  # type: ignore[misc]
        """Weights of few bits, activations of eight."""

        weight = tools.quantizers.LastValueQuantizer(
            num_bits=bits, per_axis=False, symmetric=True, narrow_range=True
        )
        activation = tools.quantizers.MovingAverageQuantizer(
            num_bits=8, per_axis=False, symmetric=False, narrow_range=False
        )

        def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
            return [(getattr(layer, weight_of(layer)), self.weight)]

        def set_quantize_weights(self, layer: Any, weights: list[Any]) -> None:
            setattr(layer, weight_of(layer), weights[0])

        def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
            return [(layer.activation, self.activation)]

        def set_quantize_activations(self, layer: Any, activations: list[Any]) -> None:
            layer.activation = activations[0]

        def get_output_quantizers(self, layer: Any) -> list[Any]:
            return []

        def get_config(self) -> dict[str, Any]:
            return {}

    def annotated(layer: Any) -> Any:
        if not hasattr(layer, "depthwise_kernel") and not hasattr(layer, "kernel"):
            return layer
        return tools.quantize_annotate_layer(layer, FewBits())

    from tensorflow_model_optimization.python.core.keras.compat import keras

    whole = keras.models.clone_model(model, clone_function=annotated)
    with tools.quantize_scope({"FewBits": FewBits}):
        aware = tools.quantize_apply(whole)
    copy_weights(model, aware)
    return aware


def weight_of(layer: Any) -> str:
    return "depthwise_kernel" if hasattr(layer, "depthwise_kernel") else "kernel"


def copy_weights(model: Any, aware: Any) -> None:
    """The clone starts with weights of its own; each is found by its name and shape."""
    source = {weight.name.split(":")[0]: weight for weight in model.weights}
    for weight in aware.weights:
        name = weight.name.split(":")[0].removeprefix("quant_")
        if name in source and source[name].shape == weight.shape:
            weight.assign(source[name])


def top1(model: Any, data: Any) -> float:
    answers = model.predict(data["a"], verbose=0).argmax(axis=1)
    return float(np.mean(answers == data["b"]))


if __name__ == "__main__":
    sys.exit(main())
