"""The valid files that ``fuzz.py`` damages, and the commands that it runs on them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser

_CONVOLUTIONS = """<ir_version: 9, opset_import: ["" : 18]>
g (float[N, 3, 8, 8] x) => (float[N, 5] y) {
  a = Conv <pads = [1, 1, 1, 1], strides = [2, 2], kernel_shape = [3, 3]> (x, w1, b1)
  b = Relu(a)
  c = Conv <pads = [1, 1, 1, 1], group = 1, dilations = [1, 1]> (b, w2, b2)
  d = Add(c, b)
  p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (d)
  t = Transpose <perm = [0, 2, 3, 1]> (p)
  q = ReduceMean <keepdims = 0> (t, axes)
  y = Gemm <alpha = 1.0, transB = 1> (q, w3, b3)
}"""
_SEQUENCE = """<ir_version: 9, opset_import: ["" : 18]>
g (float[N, 6, 8] x) => (float[N, 4] y) {
  s = Shape <start = 0, end = 1> (x)
  l = LayerNormalization <axis = -1> (x, g1, g2)
  m = MatMul(l, w1)
  u, v = Split <axis = 2, num_outputs = 2> (m)
  h = Tanh(u)
  r = Concat <axis = 2> (h, v)
  k = Slice(r, starts, ends, slice_axes)
  z = Concat <axis = 0> (s, rest)
  f = Reshape(k, z)
  e = MatMul(f, w2)
  y = Softmax <axis = -1> (e)
}"""


_PICTURES = """<ir_version: 9, opset_import: ["" : 18]>
g (float[N, 8, 8, 3] x) => (float[N, 3] y) {
  y = ReduceMean <keepdims = 0> (x, axes)
}"""


def _tensors(sequence: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(int(sequence))
    if sequence:
        shapes = {"g1": (8,), "g2": (8,), "w1": (8, 12), "w2": (48, 4)}
        whole = {"starts": [0], "ends": [4], "slice_axes": [1], "rest": [48]}
    else:
        shapes = {
            "w1": (6, 3, 3, 3),
            "b1": (6,),
            "w2": (6, 6, 3, 3),
            "b2": (6,),
            "w3": (5, 6),
            "b3": (5,),
        }
        whole = {"axes": [1, 2]}
    weights = {n: rng.normal(size=s).astype(np.float32) / 2 for n, s in shapes.items()}
    return {**weights, **{n: np.array(values, np.int64) for n, values in whole.items()}}


def make_files(folder: Path) -> None:
    """Models with data and labels, one with its weights outside, images, a store, a report."""
    from converter.compression.compress import compress
    from runtimes.weight_store.store import create_store

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, text, shape, classes in (
        ("m", _CONVOLUTIONS, (3, 8, 8), 5),
        ("n", _SEQUENCE, (6, 8), 4),
    ):
        proto = onnx.parser.parse_model(text)
        for key, values in _tensors(name == "n").items():
            proto.graph.initializer.append(onnx.numpy_helper.from_array(values, key))
        onnx.save(proto, folder / f"{name}.onnx")
        x = rng.normal(size=(24, *shape)).astype(np.float32)
        labels = rng.integers(0, classes, 24)
        np.savez(folder / f"{name}.npz", x=x, labels=labels)
        np.savez_compressed(folder / f"{name}c.npz", x=x, labels=labels)
        np.save(folder / f"{name}.npy", x)
    onnx.save(
        onnx.load(folder / "n.onnx"),
        folder / "e.onnx",
        save_as_external_data=True,
        location="e.data",
        size_threshold=0,
    )
    shutil.copy(folder / "m.onnx", folder / "good.onnx")
    _pictures(folder / "pictures", rng)
    pictured = onnx.parser.parse_model(_PICTURES)
    axes = onnx.numpy_helper.from_array(np.array([1, 2], np.int64), "axes")
    pictured.graph.initializer.append(axes)
    onnx.save(pictured, folder / "p.onnx")
    create_store(folder / "store", [folder / "m.onnx", folder / "n.onnx"])
    compress(folder / "n.onnx", folder / "old", folder / "n.npz", steps=["dedupe"])


def _pictures(folder: Path, rng: np.random.Generator) -> None:
    from PIL import Image

    for place in range(6):
        (folder / f"class{place % 3}").mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"class{place % 3}" / f"{place}.png")


Command = tuple[str, tuple[str, ...], tuple[str, ...]]
"""A name, the files of which one is damaged, and the arguments."""


def _of_model(model: str, data: str, own: tuple[str, ...]) -> list[Command]:
    """The commands on one model and its data; ``own``: its files."""
    both = (*own, *own, data)
    low = ("--effort", "low")
    return [
        ("check", both, ("check", model, model, "--data", data)),
        ("profile", own, ("profile", model)),
        ("dedupe", own, ("dedupe", model, "-o", "out.onnx")),
        ("prune", own, ("prune", model, "-o", "out.onnx")),
        ("prune data", both, ("prune", model, "-o", "out.onnx", "--data", data)),
        ("quantize", both, ("quantize", model, "-o", "out.onnx", "--data", data, *low)),
        (
            "compress",
            both,
            ("compress", model, "-o", "out", "--data", data, "--skip", "prune", *_NO_INT8),
        ),
        ("compress all", both, ("compress", model, "-o", "out", "--data", data)),
    ]


_NO_INT8 = ("--skip", "quantize")


def _commands() -> list[Command]:
    found: list[Command] = []
    for name in ("m", "n"):
        model, packed = f"{name}.onnx", f"{name}c.npz"
        found += [
            *_of_model(model, f"{name}.npz", (model,)),
            ("check", (packed,), ("check", model, model, "--data", packed, "--metric", "top1")),
            ("check", (f"{name}.npy",), ("check", model, model, "--data", f"{name}.npy")),
            ("dedupe store", (model,), ("dedupe", "m.onnx", "n.onnx", "-o", "out")),
        ]
    report = "old/report.json"
    replayed = ("compress", "n.onnx", "--data", "n.npz", *_NO_INT8)
    pictures = ("--data", "pictures", "--image-size", "8x8", "--image-scale", "0.01")
    return [
        *found,
        *_of_model("e.onnx", "n.npz", ("e.onnx", "e.data")),
        ("check", ("m.onnx",), ("check", "good.onnx", "m.onnx", "--data", "m.npz")),
        (
            "check layers",
            ("m.onnx",),
            ("check", "good.onnx", "m.onnx", "--data", "m.npz", "--layers"),
        ),
        ("check images", ("pictures",), ("check", "p.onnx", "p.onnx", *pictures)),
        ("quantize images", ("pictures",), ("quantize", "p.onnx", "-o", "out.onnx", *pictures)),
        ("dedupe verify", ("store",), ("dedupe", "store", "--verify")),
        ("dedupe extract", ("store",), ("dedupe", "store", "--extract", "m", "-o", "out.onnx")),
        ("dedupe add", ("store",), ("dedupe", "store", "--add", "m.onnx", "--name", "k")),
        ("check stored", ("store",), ("check", "m.onnx", "store/m.onnx", "--data", "m.npz")),
        ("compress replay", (report,), (*replayed, "-o", "out", "--decisions", report)),
        ("replace", ("old",), (*replayed, "-o", "old", "--force")),
    ]


COMMANDS = _commands()
