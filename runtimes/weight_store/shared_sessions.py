"""Sessions that hold one copy of each weight: many models, threads or processes, one memory.

A session of ONNX Runtime copies its weights while it optimizes: a convolution's into the order
that its kernel reads, a folded constant into a new one. So each model is optimized once, and what
came out goes into a weight store, where the weights of all models that are equal after it are one
file. Sessions open that with optimization off, and get each weight as an
initializer that they share (``SessionOptions.add_initializer``), mapped from its file: the page
cache holds it once for every session of every process. On CUDA a device gets one copy, which goes
with the last session that reads it: of a new version it gets the weights that changed.
https://onnxruntime.ai/docs/get-started/with-c.html (sharing initializers between sessions)
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np
import onnx_ir as ir

from runtimes.atomic_files import scratch_folder
from runtimes.base import Closable
from runtimes.engines.ort import OrtRuntime
from runtimes.engines.ort_cuda import CudaOptions
from runtimes.engines.ort_install import require_onnxruntime
from runtimes.engines.ort_optimized import write_optimized
from runtimes.engines.ort_session import Optimization
from runtimes.engines.runtime import name_of
from runtimes.errors import DataError
from runtimes.onnx_files.load_save import ModelSource, load_graph, load_model
from runtimes.onnx_files.tensor_bytes import byte_chunks, digest_of
from runtimes.readable import ReadableReport
from runtimes.weight_store.files import in_use
from runtimes.weight_store.graph import SMALLEST_BYTES, WEIGHTS_FOLDER, take_apart
from runtimes.weight_store.index import INDEX_NAME
from runtimes.weight_store.store import add_to_store, create_store, model_path, store_names

_PATIENCE_SECONDS = 60.0
_ARENA = MappingProxyType({"session.use_env_allocators": "1"})
_NO_PREPACKING = MappingProxyType({"session.disable_prepacking": "1"})
# Shapes and indices are read by the processor wherever the rest runs.
_READ_BY_CPU = frozenset({ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL})


@dataclass(frozen=True)
class SharedReport(ReadableReport):
    """Open sessions, and the bytes of their weights: held, and what each alone would hold."""

    sessions: int
    weights: int
    held_bytes: int
    bytes_without_sharing: int

    def to_dict(self) -> dict[str, int]:
        """The figures as plain values, for JSON."""
        return asdict(self)

    def headline(self) -> str:
        """What the sessions hold, and what they would hold alone."""
        return (
            f"{self.sessions} sessions share {self.weights} weights: {self.held_bytes:,} bytes "
            f"instead of {self.bytes_without_sharing:,}"
        )


class SharedWeights(Closable):
    """A pool of weights, and the sessions that read them.

    ``folder``: where the optimized models lie. Processes that give the same one share their
    weights, also later ones, which then need not optimize; without it a temporary folder serves
    this process. ``provider`` and ``threads`` as for ``OrtRuntime``. ``prepack``: let every
    session keep a copy of its matrices in the order that products read them. Small batches run
    up to three times as fast with it, and results are those of a session of its own bit by bit;
    without it, the last bits of matrix products may differ. ``arena``: sessions of this process
    take the memory of their activations from one arena, and keep it; without it, every run gives
    its memory back, which is slower and suits many processes of one session each.

    Stages of a model share their weights as well: ``Pipeline(folder, shared=pool)``.

    Safe to use from several threads. Close the runtimes that it opened before itself.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        provider: str = "cpu",
        threads: int | None = None,
        prepack: bool = False,
        arena: bool = True,
    ) -> None:
        self._ort = require_onnxruntime()
        self._stack = ExitStack()
        if folder is None:
            folder = self._stack.enter_context(scratch_folder()) / "store"
        self.folder = Path(folder)
        self.provider = provider
        self.threads = threads
        self.prepack = prepack
        self.arena = arena
        self._config = {**({} if prepack else _NO_PREPACKING), **(_ARENA if arena else {})}
        self._lock = threading.Lock()
        # A weight is let go with the last session that reads it: old versions leave nothing.
        self._values: WeakValueDictionary[tuple[str, str], Any] = WeakValueDictionary()
        self._used: WeakKeyDictionary[OrtRuntime, tuple[str, ...]] = WeakKeyDictionary()
        if arena:
            _register_arena(self._ort)

    def open(
        self,
        model: ModelSource,
        *,
        device: int = 0,
        provider: str | None = None,
        optimization: Optimization = "all",
    ) -> OrtRuntime:
        """Open ``model`` in a session of its own that shares its weights.

        ``device``: the GPU's index on CUDA. ``provider``: another one than that of the pool.
        ``optimization``: how far the graph is optimized. Raises what ``OrtRuntime`` and
        ``load_model`` raise, and ``ModelError`` where what lies in ``folder`` is damaged.
        """
        provider = provider or self.provider
        place = {"device_type": "cuda", "device_id": device} if provider == "cuda" else {}
        with self._lock:
            name = self._optimized(model, provider, optimization)
        with in_use(self.folder / WEIGHTS_FOLDER):
            path = model_path(self.folder, name)
            weights = {str(t.name): t for t in _shareable(load_graph(path), provider)}
            with self._lock:
                initializers = {name: self._value(t, place) for name, t in weights.items()}
            runtime = OrtRuntime(
                path,
                provider=provider,
                threads=self.threads,
                optimization="disabled",
                config=self._config,
                arena=self.arena,
                cuda=CudaOptions(device=device) if place else None,
                initializers=initializers,
            )
        runtime.name = name_of(model)
        with self._lock:
            self._used[runtime] = tuple(_digest(tensor) for tensor in weights.values())
        return runtime

    def report(self) -> SharedReport:
        """What is held, and what it would be without sharing."""
        with self._lock:
            held = {key: value.tensor_size_in_bytes() for key, value in self._values.items()}
            size = {digest: held[digest, place] for digest, place in held}
            used = [digests for digests in self._used.values() if size.keys() >= set(digests)]
            alone = sum(size[digest] for digests in used for digest in digests)
            return SharedReport(len(used), len(held), sum(held.values()), alone)

    def close(self) -> None:
        """Remove a temporary folder; open sessions keep the weights that they read."""
        with self._lock:
            self._stack.close()

    def _optimized(self, model: ModelSource, provider: str, optimization: Optimization) -> str:
        """The name in the store of ``model`` as ONNX Runtime optimized it; made if it is new."""
        if not (self.folder / INDEX_NAME).exists():
            _make_store(self.folder)
        name = self._key(model, provider, optimization)
        if name in store_names(self.folder):
            return name
        with scratch_folder() as folder:
            path = folder / "optimized.onnx"
            write_optimized(
                model,
                path,
                provider=provider,
                threads=self.threads,
                optimization=optimization,
                external_from=SMALLEST_BYTES,
            )
            _add(self.folder, path, name)
        return name

    def _key(self, model: ModelSource, provider: str, optimization: Optimization) -> str:
        """A name that changes with whatever the optimized model depends on."""
        runs, _ = take_apart(load_model(model), lambda tensor: digest_of(byte_chunks(tensor)))
        level = () if optimization == "all" else (optimization,)
        here = (self._ort.__version__, provider, _processor(), *level)
        return digest_of(iter([runs, repr(here).encode()]))

    def _value(self, tensor: ir.ExternalTensor, place: Mapping[str, Any]) -> Any:
        """The weight on a device, made when a session needs it first."""
        key = (_digest(tensor), repr(place))
        value = self._values.get(key)
        if value is None:
            # On the CPU the value has no memory of its own: it is the mapped file.
            array = np.memmap(
                tensor.path, tensor.dtype.numpy(), "r", shape=tuple(tensor.shape.numpy())
            )
            value = self._values[key] = self._ort.OrtValue.ortvalue_from_numpy(array, **place)
        return value


def _shareable(model: ir.Model, provider: str) -> Iterator[ir.ExternalTensor]:
    """Weights that can be given to a session; ONNX Runtime maps the others from their files."""
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if not isinstance(tensor, ir.ExternalTensor) or tensor.dtype.numpy().kind not in "fiub":
            continue  # numpy lacks bfloat16 and what is narrower than a byte
        if tensor.dtype.bitwidth % 8 == 0 and not (
            provider == "cuda" and tensor.dtype in _READ_BY_CPU
        ):
            yield tensor


def _digest(tensor: ir.ExternalTensor) -> str:
    return Path(str(tensor.location)).name


def _make_store(folder: Path) -> None:
    try:
        create_store(folder, [])
    except (DataError, OSError):
        if not (folder / INDEX_NAME).exists():  # else another process was first
            raise


def _add(folder: Path, path: Path, name: str) -> None:
    """Add a model to a store to which other processes add at the same time."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            add_to_store(folder, [path], [name])
            return
        except DataError:
            if name in store_names(folder):
                return
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _register_arena(ort: Any) -> None:
    """Give ONNX Runtime's environment an arena; one that is there already stays."""
    memory = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    # Growing by what is asked for: powers of two would round a small model up to twice its size.
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg({"arena_extend_strategy": 1}))


def _processor() -> str:
    """What the layout of weights depends on: the instructions that the processor has."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    return next((line for line in text.splitlines() if line.startswith("flags")), text[:500])
