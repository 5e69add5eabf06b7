"""ONNX Runtime for JavaScript as two engines: its native build for Node, and WebAssembly.

https://onnxruntime.ai/docs/get-started/with-javascript/. A model runs in a Node process of its own,
which is asked through frames and which times itself, so that a pipe is never part of a latency.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import onnx_ir as ir

from runtimes.base import Array, Feed, SelfTimed, TensorSpec
from runtimes.engines.onnxruntime_js.frames import Frame, FrameError
from runtimes.engines.onnxruntime_js.packages import (
    find_node,
    find_package,
    require_onnxruntime_js,
)
from runtimes.engines.onnxruntime_js.tensors import describe, element_type, read_tensors
from runtimes.engines.onnxruntime_js.worker import AnsweredError, Worker, WorkerFailed
from runtimes.engines.ort_errors import explain
from runtimes.engines.placement import Placement
from runtimes.engines.runtime import Loaded, Runtime, name_of
from runtimes.engines.self_contained import self_contained
from runtimes.errors import ModelError, RuntimeUnavailable
from runtimes.onnx_files.external_data import external_tensors
from runtimes.onnx_files.load_save import ModelSource, load_model, model_inputs, model_outputs
from runtimes.onnx_graph.quantized import is_quantized
from runtimes.process_memory import own_peak_bytes

TIMEOUT = "KILNX_NODE_TIMEOUT"
"""The environment variable that says how many seconds an answer may take."""

_SECONDS = 600.0
_JS_PREFIX = re.compile(r"^.*ERROR_CODE: \d+, ERROR_MESSAGE: ", re.DOTALL)
_SCRIPT = Path(__file__).with_name("worker.mjs")


class JavaScriptRuntime(Runtime):
    """One ONNX model in ONNX Runtime for JavaScript, in a Node process that ends with it.

    Args:
        model: The path of an ONNX file, or a graph.
        threads: The number of threads; by default the package chooses.

    Raises:
        RuntimeUnavailable: Node or the npm package is not installed, or does not start.
        ModelError: ONNX Runtime cannot load the model.
    """

    package: ClassVar[str]
    """The npm package, which is the provider's name, too."""

    build: ClassVar[str]
    """What of it runs the nodes."""

    warm_up_seconds: ClassVar[float]
    """How long a model may run, at most, until it is as fast as it gets."""

    _graph: ir.Model | None

    def __init__(self, model: ModelSource, *, threads: int | None = None) -> None:
        super().__init__(model, name=name_of(model), threads=threads)

    def peak_bytes_elsewhere(self) -> int:
        """Bytes that the model added to the peak memory of its Node process."""
        return (own_peak_bytes(self._worker.pid) or 0) - self._idle_bytes

    def _load(self, source: ModelSource) -> Loaded:
        require_onnxruntime_js(self.package)
        graph = self._graph = load_model(source)
        inputs, outputs = model_inputs(graph), model_outputs(graph)
        _refuse_types((*inputs, *outputs), self.name, self.package)
        data = _bytes_of(source, graph)
        self._numbers = itertools.count()
        self._worker, told = _start(self.package)
        try:
            self._idle_bytes = own_peak_bytes(self._worker.pid) or 0
            answer = self._worker.ask({"do": "load", "threads": self.threads}, data).header
        except BaseException:
            self._worker.close()
            raise
        self._graph = None  # needed only to explain errors up to this point
        where = f"{told}, {self.build}, threads: {answer.get('threads') or 'as it chooses'}"
        count = sum(1 for _ in ir.traversal.RecursiveGraphIterator(graph.graph))
        placement = Placement(self.package, {where: count}, ())
        version = str(self._worker.greeting.get("version"))
        return Loaded(inputs, outputs, placement, is_quantized(graph), version=version)

    def _run(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        answer = self._ask("run", feed, names)
        found = read_tensors(answer.header.get("tensors"), answer.body)
        if missing := [name for name in names if name not in found]:
            raise FrameError(f"the answer lacks {missing[0]!r}")
        return [found[name] for name in names]

    def _prepare(self, feed: Feed) -> Callable[[], object]:
        number = next(self._numbers)
        self._ask("prepare", feed, self._output_names, number=number)
        self._worker.ask({"do": "warm", "number": number, "seconds": self.warm_up_seconds})
        return SelfTimed(partial(self._time, number))

    def _unload(self) -> None:
        self._worker.close()

    def _explain(self, error: Exception) -> str:
        return explain(AnsweredError(_JS_PREFIX.sub("", str(error))), self._graph)

    def _time(self, number: int) -> float:
        """Seconds of one run, by the process's own clock."""
        answer = self._worker.ask({"do": "time", "number": number, "runs": 1})
        return float(answer.header["seconds"][0])

    def _ask(self, what: str, feed: Feed, names: Sequence[str], **more: int) -> Frame:
        tensors, body = describe(feed)
        asked = {"do": what, "tensors": tensors, "outputs": list(names), **more}
        return self._worker.ask(asked, body)


class NodeRuntime(JavaScriptRuntime):
    """One ONNX model in onnxruntime-node: the native library, on the CPU."""

    engine = "onnxruntime-node"
    package = "onnxruntime-node"
    build = "native, CPU"
    warm_up_seconds = 0.5


class WebRuntime(JavaScriptRuntime):
    """One ONNX model in onnxruntime-web: WebAssembly with SIMD and threads, as browsers run it."""

    engine = "onnxruntime-web"
    package = "onnxruntime-web"
    build = "WebAssembly with SIMD"
    warm_up_seconds = 5.0


def _start(package: str) -> tuple[Worker, str]:
    """A process that has loaded the package, and their versions as text.

    Raises:
        RuntimeUnavailable: Something is missing, or the process does not get that far.
    """
    found = find_package(package)
    command = [find_node(), str(_SCRIPT), str(found.folder)]
    try:
        worker = Worker(command, seconds=_timeout())
    except WorkerFailed as error:
        raise RuntimeUnavailable(
            f"{package} {found.version} in {found.folder} does not start in Node: {error}"
        ) from error
    return worker, f"{package} {found.version} (Node {worker.greeting.get('node')})"


def _timeout() -> float:
    text = os.environ.get(TIMEOUT)
    if not text:
        return _SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise RuntimeUnavailable(f"{TIMEOUT} must be a number of seconds above 0, not {text!r}")
    return seconds


def _bytes_of(source: ModelSource, graph: ir.Model) -> bytes:
    """The file as it is shipped, or what is in memory; with the weights of other files."""
    if isinstance(source, ir.Model) or external_tensors(graph):
        data: bytes = ir.to_proto(self_contained(graph)).SerializeToString()
        return data
    return Path(source).read_bytes()


def _refuse_types(specs: Sequence[TensorSpec], model: str, package: str) -> None:
    for spec in specs:
        if element_type(spec.dtype) is None:
            raise ModelError(
                f"{model}: {spec.name!r} is {spec.dtype.name}, of which {package} has no tensors; "
                "cast it inside the model"
            )
