"""The commands that ``crash.py`` stops, the files that they run on, and what whole means."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir

from converter.report.report import files_not_reported
from runtimes.errors import KilnxError
from runtimes.onnx_files import load_save
from runtimes.weight_store.store import load_stored, verify_store

_EXTERNAL_ABOVE = 2000


@dataclass(frozen=True)
class Case:
    """One command line; ``output`` is what it writes, a file, a folder or nothing."""

    name: str
    arguments: tuple[str, ...]
    output: str = ""
    kind: str = "file"
    keras: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the names of everything that it may write begin with."""
        return (self.output, f"{self.output}.data") if self.output else ("\0",)

    def run(
        self, arguments: list[str], *, external: bool, fault: Callable[[], object] | None
    ) -> int:
        """Run it in this process; ``external``: weights in a file of their own."""
        from converter.cli import app
        from converter.cli.console import run_cli

        if external:
            load_save._EXTERNAL_ABOVE_BYTES = _EXTERNAL_ABOVE
        if fault:
            fault()
        return run_cli(app, arguments)

    def broken(
        self, folder: Path, before: Mapping[str, bytes], after: Mapping[str, bytes], code: int
    ) -> str:
        """What is wrong with the output: nothing if it is whole, absent or the older one."""
        if not self.output or (self.kind == "file" and self.output not in after and code != 0):
            return ""
        mine = {name: content for name, content in after.items() if name.startswith(self.outputs)}
        older = {n: content for n, content in before.items() if n.startswith(self.outputs)}
        visible = {name: content for name, content in mine.items() if ".writing-" not in name}
        if visible == older or (not visible and code != 0):
            return "" if code != 0 or self.kind == "store" else "exit 0 without an output"
        try:
            return _WHOLE[self.kind](folder / self.output)
        except (KilnxError, OSError, ValueError) as error:
            return f"broken: {type(error).__name__} {error}"


def _whole_file(path: Path) -> str:
    model = load_save.load_model(path)
    for value in model.graph.initializers.values():
        assert value.const_value is not None
        value.const_value.numpy()
    onnx.checker.check_model(str(path))
    return ""


def _whole_folder(path: Path) -> str:
    document = json.loads((path / "report.json").read_text())
    missing = [name for name in document["files"] if not (path / name).exists()]
    other = [*missing, *files_not_reported(path)]
    return f"not as reported: {other[0]}" if other else ""


def _whole_store(path: Path) -> str:
    check = verify_store(path)
    for name in check.models:
        load_stored(path, name)
    return check.problems[0] if check.problems else ""


_WHOLE = {"file": _whole_file, "folder": _whole_folder, "store": _whole_store}


def _cases() -> tuple[Case, ...]:
    data = ("--data", "d.npz")
    quick = ("--skip", "prune", "--skip", "quantize")
    return (
        Case("convert", ("convert", "m.keras", "-o", "out.onnx"), "out.onnx", keras=True),
        Case("prune", ("prune", "m.onnx", "-o", "out.onnx"), "out.onnx"),
        Case("prune data", ("prune", "m.onnx", "-o", "out.onnx", *data), "out.onnx"),
        Case(
            "quantize",
            ("quantize", "m.onnx", "-o", "out.onnx", *data, "--effort", "low"),
            "out.onnx",
        ),
        Case("dedupe", ("dedupe", "m.onnx", "-o", "out.onnx"), "out.onnx"),
        Case(
            "dedupe near",
            ("dedupe", "m.onnx", "-o", "out.onnx", "--near", "0.1", *data),
            "out.onnx",
        ),
        Case("dedupe store", ("dedupe", "m.onnx", "n.onnx", "-o", "out"), "out", "store"),
        Case("dedupe add", ("dedupe", "store", "--add", "m.onnx"), "store", "store"),
        Case("dedupe extract", ("dedupe", "store", "--extract", "n", "-o", "out.onnx"), "out.onnx"),
        Case("compress", ("compress", "m.onnx", "-o", "out", *data, *quick), "out", "folder"),
        Case("compress all", ("compress", "m.onnx", "-o", "out", *data), "out", "folder"),
        Case(
            "compress keras",
            ("compress", "m.keras", "-o", "out", *data, *quick),
            "out",
            "folder",
            keras=True,
        ),
        Case("check", ("check", "m.onnx", "m.onnx", *data, "--json")),
        Case("profile", ("profile", "m.onnx", "--json")),
    )


CASES = _cases()


def make_files(folder: Path, *, keras: bool) -> None:
    """What the user has: models, data, a script, a store; older outputs in ``older``."""
    folder.mkdir(parents=True)
    for seed, name in enumerate(("m", "n")):
        onnx.save(
            ir.to_proto(_model(seed)),
            folder / f"{name}.onnx",
            save_as_external_data=name == "m",
            location="weights.bin",
            size_threshold=0,
        )
    rng = np.random.default_rng(0)
    np.savez(folder / "d.npz", x=rng.normal(size=(48, 16)).astype(np.float32))
    (folder / "train.py").write_text("# how the model was trained\n")
    from runtimes.weight_store.store import create_store

    create_store(folder / "store", [folder / "n.onnx"])
    _older(folder)
    if keras:
        _keras(folder / "m.keras")


def _older(folder: Path) -> None:
    from converter.compression.compress import compress
    from runtimes.weight_store.store import create_store

    for kind in _WHOLE:
        (folder / "older" / kind).mkdir(parents=True)
    load_save.save_model(_model(7), folder / "older" / "file" / "out.onnx")
    compress(folder / "n.onnx", folder / "older" / "folder" / "out", folder / "d.npz", steps=[])
    create_store(folder / "older" / "store" / "out", [folder / "m.onnx"])


def _model(seed: int) -> ir.Model:
    text = """<ir_version: 9, opset_import: ["" : 18]>
    g (float[N, 16] x) => (float[N, 4] y) {
      a = Gemm(x, w1, b1) b = Relu(a) c = Gemm(b, w2, b2) d = Relu(c)
      e = MatMul(d, w3) f = MatMul(d, w4) y = Add(e, f)
    }"""
    rng = np.random.default_rng(seed)
    shapes = {"w1": (16, 24), "b1": (24,), "w2": (24, 24), "b2": (24,), "w3": (24, 4)}
    weights = {n: rng.normal(size=s).astype(np.float32) / 4 for n, s in shapes.items()}
    proto = onnx.parser.parse_model(text)
    for name, values in {**weights, "w4": weights["w3"]}.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return ir.from_proto(proto)


_KERAS = """
import sys
from runtimes.keras_models.load import import_keras
keras = import_keras()
inputs = keras.Input((16,), name="x")
hidden = keras.layers.Dense(24, activation="relu")(inputs)
keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(hidden)).save(sys.argv[1])
"""


def _keras(path: Path) -> None:
    # In a process of its own: TensorFlow's threads would not outlive the forks of this one.
    subprocess.run([sys.executable, "-c", _KERAS, str(path)], check=True)
