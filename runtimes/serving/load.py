"""Load a version of a model: digests, sessions, warm-up, parity, and only then requests."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from runtimes.base import Array, Feed
from runtimes.cpu_info import own_cores
from runtimes.engines.open_runtime import open_runtime
from runtimes.engines.ort import NO_SPINNING, OrtRuntime
from runtimes.engines.runtime import Runtime
from runtimes.errors import DataError
from runtimes.serving.host import Host
from runtimes.serving.jobs import Run
from runtimes.serving.measure import Measured, has_free_batch, measure
from runtimes.serving.monitoring import Monitor, open_monitor
from runtimes.serving.options import ServeOptions
from runtimes.serving.proof import prove_parity, require_finite
from runtimes.serving.scheduler import Fallback, Scheduler
from runtimes.serving.servable import Servable, open_servable
from runtimes.serving.signature import Signature
from runtimes.serving.sources import Source
from runtimes.serving.staged import at_work, in_threads, open_stages, prove_stages
from runtimes.serving.version import ServedVersion
from runtimes.targets import find_target
from runtimes.weight_store.shared_sessions import SharedWeights


@dataclass(frozen=True)
class Loader:
    """Loads versions; it may be called in any thread.

    Attributes:
        options: What the server was told.
        host: Where the schedulers of the versions work.
        shared: Weights that all sessions share; None where each has its own.
    """

    options: ServeOptions
    host: Host
    shared: SharedWeights | None = None

    def load(self, source: Source) -> ServedVersion:
        """A version that has proven itself.

        Raises a ``KilnxError`` that says what is wrong with it; nothing is left behind then.
        """
        with ExitStack() as held:
            servable = held.enter_context(open_servable(source, self.options.verify))
            opened = _Opened(held.enter_context(self._open(servable, servable.model)))
            original = None
            if servable.fp32 is not None and (self.options.model.monitor or servable.warmup):
                original = _Opened(held.enter_context(self._open(servable, servable.fp32)))
            measured = self._prove(servable, opened, original)
            servable.require_unchanged()
            monitor = open_monitor(
                servable, self.options.model, None if original is None else original.answer
            )
            if monitor is not None:
                held.callback(monitor.close)
            fallback = self._fallback(servable, original, monitor)
            version = self._served(servable, opened.runtime, measured, monitor, fallback)
            version.held = held.pop_all()
        return version

    def _open(self, servable: Servable, path: Path) -> Runtime:
        """A session in the engine that the model was proven on, where that is another one."""
        if path.is_dir():
            travelled = servable.source.is_bundle
            return open_stages(path, self.options, travelled=travelled, shared=self.shared)
        model, target = self.options.model, find_target(servable.target)
        if not target.is_default:
            return open_runtime(path, target.engine, threads=model.threads)
        if self.shared is not None:
            return self.shared.open(path)
        return open_runtime(path, model.provider, threads=model.threads, config=NO_SPINNING)

    def _prove(self, servable: Servable, opened: _Opened, original: _Opened | None) -> Measured:
        """Warm the model up, time it, and compare it with its original on the samples."""
        runtime, run, names = opened.runtime, opened.run, opened.names
        samples = servable.samples(runtime.inputs)
        name = f"{servable.source.name} {servable.source.version}"
        if samples is not None:
            runtime.run(samples)  # which says what does not fit
            require_finite(run(samples, names), names, name)
            if original is not None:
                _require_same_names(runtime, original.runtime, name)
                prove_parity(run, original.run, samples, names, model=name, limits=servable.limits)
        if servable.staged:
            proven = prove_stages(run, names, servable.model, servable.limits, name)
            samples = proven if samples is None else samples
        return self._measure(servable, opened, samples)

    def _measure(self, servable: Servable, opened: _Opened, samples: Feed | None) -> Measured:
        asked = servable.limits.get("max_batch_size")
        max_batch = self.options.model.max_batch
        if isinstance(asked, int) and asked > 0:
            max_batch = min(max_batch, asked)
        measured = measure(
            opened.run,
            opened.runtime.inputs,
            opened.runtime.outputs,
            samples=samples,
            max_batch=max_batch,
        )
        return in_threads(measured) if at_work(opened.runtime) > 1 else measured

    def _fallback(
        self, servable: Servable, original: _Opened | None, monitor: Monitor | None
    ) -> Fallback | None:
        """The original, ready to answer in the model's place."""
        if original is None or monitor is None:
            return None
        engine = self._measure(servable, original, servable.samples(original.runtime.inputs)).engine
        return Fallback(engine, lambda: monitor.uses_fp32, lambda: monitor.capacity)

    def _served(
        self,
        servable: Servable,
        runtime: Runtime,
        measured: Measured,
        monitor: Monitor | None,
        fallback: Fallback | None,
    ) -> ServedVersion:
        options = self.options
        scheduler = Scheduler(
            measured.engine,
            self.host,
            replicas=options.model.replicas
            or max(at_work(runtime), default_replicas(options.model.threads)),
            queue=options.limits.queue,
            fallback=fallback,
        )
        batched = has_free_batch(runtime.inputs, runtime.outputs)
        signature = Signature(
            servable.source.name,
            runtime.inputs,
            runtime.optional_inputs,
            runtime.outputs,
            batched=batched,
        )
        return ServedVersion(
            servable,
            signature,
            scheduler,
            monitor,
            f"{runtime.engine} {runtime.version}".strip(),
            measured.rows,
            self.host,
            options.limits.seconds,
            ExitStack(),
        )


def default_replicas(threads: int) -> int:
    """Runs at a time that keep all cores of this process busy."""
    cores = own_cores()
    return max(1, (len(cores) if cores else os.cpu_count() or 1) // threads)


class _Opened:
    """A session that several threads may use: ONNX Runtime allows it, in others they take turns."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self._lock = runtime, threading.Lock()
        self.names = [spec.name for spec in runtime.outputs]
        free = isinstance(runtime, OrtRuntime) or hasattr(runtime, "at_work")
        self.run: Run = runtime.run_checked if free else self._run_in_turn

    def answer(self, feed: Feed) -> dict[str, Array]:
        """All outputs by name, of a feed that fits."""
        return dict(zip(self.names, self.run(feed, self.names), strict=True))

    def _run_in_turn(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        with self._lock:
            return self.runtime.run_checked(feed, names)


def _require_same_names(runtime: Runtime, original: Runtime, model: str) -> None:
    for kind in ("inputs", "outputs"):
        ours = {spec.name for spec in getattr(runtime, kind)}
        theirs = {spec.name for spec in getattr(original, kind)}
        if ours != theirs:
            raise DataError(
                f"{model}: the {kind} of its fp32 original have other names: "
                f"{', '.join(sorted(theirs))} instead of {', '.join(sorted(ours))}"
            )
