"""A model on a device, as any other runtime: it is opened there, and run there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runtimes.agent import messages
from runtimes.agent.link import Link
from runtimes.agent.messages import HoldCall, OpenCall, Opened, RunCall, TimeCall, Times, Watched
from runtimes.agent.parts import parts_of
from runtimes.agent.protocol import numpy_dtype
from runtimes.agent.remote_job import RemoteJob
from runtimes.agent.typed_json import Malformed, read
from runtimes.base import Array, Feed, TensorSpec
from runtimes.engines.ort_session import Optimization
from runtimes.engines.placement import NodePlacement, Placement
from runtimes.engines.runtime import Loaded, Runtime, name_of
from runtimes.errors import RuntimeUnavailable
from runtimes.onnx_files.load_save import ModelSource


class RemoteRuntime(Runtime):
    """One ONNX model in a process on a device.

    A function that ``prepare`` returns goes over the link each time; what is to be timed, is held
    and timed on the device. Where the agent was started anew, the model is opened again: a run
    leaves nothing behind that would be lost, and what was held has to be held again.

    Args:
        model: The path of an ONNX file, or a graph.
        link: The connection to the device; it is this runtime's own.
        provider: Where on the device the model runs.
        threads: The number of threads; by default the engine chooses.
        optimization: ONNX Runtime's graph optimization level.
        config: Session configuration entries; only those about spinning are taken.
        allow_fallback: Whether nodes may run on a provider other than ``provider``.

    Attributes:
        load_seconds: How long the engine took to load the model there.

    Raises:
        RuntimeUnavailable: The device does not answer, or has no such provider.
        ModelError: The model does not load there.
    """

    engine = "the device's engine"

    load_seconds: float

    def __init__(
        self,
        model: ModelSource,
        link: Link,
        *,
        provider: str = "cpu",
        threads: int | None = None,
        optimization: Optimization = "all",
        config: Mapping[str, str] | None = None,
        allow_fallback: bool = False,
    ) -> None:
        self._link = link
        self._call = OpenCall(provider, threads, optimization, dict(config or {}), allow_fallback)
        super().__init__(model, name=name_of(model), threads=threads)

    def hold(self, key: str, feed: Feed) -> float:
        """Keep ``feed`` on the device to be timed under ``key``; the seconds of its first run."""
        (first,) = self._times("hold", HoldCall(key), feed)
        return first

    def time(self, key: str, seconds: float) -> list[float]:
        """Seconds of each run of what was held, until all of them took ``seconds``."""
        return self._times("time", TimeCall(key, seconds))

    def memory(self) -> int | None:
        """Bytes that engine and model added to the peak of their process."""
        return self._watched().memory_bytes

    def disturbed(self) -> float:
        """The share of the timed seconds in which a run waited for a core."""
        return self._watched().waited

    def _times(self, operation: str, call: object, feed: Feed | None = None) -> list[float]:
        answer, _ = self._job.ask(operation, call, feed)
        with self._link.understanding():
            found = read(Times, answer, "the times").seconds
            if not found:
                raise Malformed("it timed no run")
        return list(found)

    def _watched(self) -> Watched:
        answer, _ = self._job.ask("watched")
        with self._link.understanding():
            return read(Watched, answer, "what was watched")

    def _load(self, source: ModelSource) -> Loaded:
        with parts_of(source) as parts:
            found: list[Opened] = []

            def open_there(job: RemoteJob) -> None:
                answer, _ = job.ask_now("open", self._call, [parts])
                found.append(read(Opened, answer, "the model's inputs and outputs"))

            self._job = RemoteJob(self._link, open_there)
            try:
                with self._link.understanding():
                    self._job.start()
                    self.load_seconds = found[-1].load_seconds
                    return _loaded(found[-1])
            except BaseException:
                self._unload()
                raise

    def _run(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        _, arrays = self._job.ask("run", RunCall(tuple(names)), feed)
        missing = [name for name in names if name not in arrays]
        if missing:
            raise RuntimeUnavailable(
                f"the agent on {self._link.address} left out the output {missing[0]!r}"
            )
        return [arrays[name] for name in names]

    def _unload(self) -> None:
        self._job.end()
        self._link.close()


def _loaded(opened: Opened) -> Loaded:
    elsewhere = tuple(
        NodePlacement(one.node, one.op_type, one.provider) for one in opened.elsewhere
    )
    return Loaded(
        tuple(map(_spec, opened.inputs)),
        tuple(map(_spec, opened.outputs)),
        Placement(opened.asked, opened.counts, elsewhere),
        opened.quantized,
        tuple(map(_spec, opened.optional_inputs)),
    )


def _spec(told: messages.Spec) -> TensorSpec:
    return TensorSpec(told.name, numpy_dtype(told.dtype), told.shape)
