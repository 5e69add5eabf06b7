"""MNN and ncnn as runtimes, each in a virtual environment of its own.

kilnx does not run them; this shows that what it writes for them is right there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np
from peer_environment import python_with

from runtimes.base import Array, Feed
from runtimes.engines.placement import Placement
from runtimes.engines.runtime import Loaded, Runtime, name_of
from runtimes.errors import ModelError
from runtimes.onnx_files.load_save import load_model, model_inputs, model_outputs, save_model
from runtimes.onnx_graph.quantized import is_quantized

PEER = Path(__file__).with_name("mobile_peer.py")


class MobileRuntime(Runtime):
    """One ONNX file in MNN or ncnn: every batch in a process of its own.

    Args:
        model: The path of an ONNX file.
        cache: The folder of the environments, which are made where they are not there.
    """

    target: ClassVar[str]
    packages: ClassVar[Sequence[str]]

    def __init__(self, model: Path, cache: Path) -> None:
        self._python = python_with(self.packages, cache / self.target)
        super().__init__(model, name=name_of(model))

    def _load(self, source: Path) -> Loaded:
        self._graph = load_model(source)
        placement = Placement(self.target, {}, ())
        return Loaded(
            model_inputs(self._graph),
            model_outputs(self._graph),
            placement,
            is_quantized(self._graph),
        )

    def _run(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        with TemporaryDirectory() as place:
            folder = Path(place)
            # Converters write next to the model.
            save_model(self._graph, folder / "model.onnx")
            arrays = {spec.name: feed[spec.name] for spec in self.inputs}
            np.savez(folder / "feed.npz", **arrays)
            command = [self._python, str(PEER), self.target, "--model", str(folder / "model.onnx")]
            command += ["--feed", str(folder / "feed.npz"), "--output", str(folder / "found.npz")]
            command += ["--names", *(spec.name for spec in self.outputs)]
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, check=False, timeout=300
            )
            if done.returncode:
                told = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
                raise ModelError(f"{self.name} failed in {self.engine}: {told[-1]}")
            with np.load(folder / "found.npz") as found:
                return [found[name] for name in names]

    def _unload(self) -> None:
        del self._graph


class MnnRuntime(MobileRuntime):
    """MNN, which runs whole batches."""

    engine = "MNN"
    target = "mnn"
    packages = ("MNN", "numpy")


class NcnnRuntime(MobileRuntime):
    """One sample at a time in ncnn, from the file that pnnx makes."""

    engine = "ncnn"
    target = "ncnn"
    # pnnx asks for PyTorch, which only its Python functions need: its program does not.
    packages = ("--no-deps", "ncnn", "pnnx", "numpy")


MOBILE: dict[str, type[MobileRuntime]] = {one.target: one for one in (MnnRuntime, NcnnRuntime)}
