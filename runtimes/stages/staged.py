"""All stages of a model, one after the other, as one runtime."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from runtimes.base import Array, Feed
from runtimes.engines.runtime import Loaded, Runtime
from runtimes.errors import ModelError
from runtimes.stages.manifest import Stage, Stages, read_manifest
from runtimes.stages.open_stage import Where, open_stage
from runtimes.stages.seat import only, open_seats
from runtimes.weight_store.shared_sessions import SharedWeights


class StagedRuntime(Runtime):
    """The stages in ``folder``, as a model like any other; several threads may run it.

    Args:
        folder: What ``partition`` wrote.
        threads: Threads of a run, in each stage.
        on_devices: Whether each stage runs on its device; else all are on the CPU of this process.
        where: Where a stage runs whose device is a CPU: in this process, or in one of its own.
        token: What servers want to know.
        seconds: How long a server may take to answer.
        shared: A pool of weights, as for ``Pipeline``.

    Attributes:
        stages: What ``stages.json`` says.
        at_work: How many stages can be at work at the same time.

    Raises:
        DataError: The folder has no stages.
        ModelError: They are damaged, or do not load.
        RuntimeUnavailable: A device is not there.
    """

    engine = "stages"

    stages: Stages
    at_work: int

    def __init__(
        self,
        folder: Path,
        *,
        threads: int | None = 1,
        on_devices: bool = False,
        where: Where = "threads",
        token: str | None = None,
        seconds: float = 60.0,
        shared: SharedWeights | None = None,
    ) -> None:
        self._stack = ExitStack()
        self._on_devices = on_devices
        self._open = partial(
            open_stage,
            Path(folder),
            where=where,
            threads=threads,
            token=token,
            seconds=seconds,
            shared=shared,
        )
        super().__init__(str(folder), name=str(folder), threads=threads)

    def _load(self, source: str) -> Loaded:
        self.stages = read_manifest(Path(source), here=self._on_devices)
        try:
            self._seats = open_seats(self.stages.stages, self._start, self._stack)
            loaded = whole(self.stages, [seat.runtime.loaded for seat in self._seats])
        except BaseException:
            self._stack.close()
            raise
        elsewhere = sum(not seat.is_here for seat in self._seats)
        self.at_work = max(1, elsewhere + (elsewhere < len(self._seats)))
        return loaded

    def _start(self, stage: Stage) -> Runtime:
        stage = stage if self._on_devices else replace(stage, device="cpu")
        return self._open(stage, exact=self.stages.exact)

    def _run(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        carried = dict(feed)
        found: dict[str, Array] = {}
        for seat in self._seats:
            given = seat.run(carried)
            found |= only(given, names)
            carried = only({**carried, **given}, seat.later)
        return [found[name] for name in names]

    def _unload(self) -> None:
        self._stack.close()


def whole(stages: Stages, loaded: Sequence[Loaded]) -> Loaded:
    """What the stages are together: the inputs and outputs of the whole model."""
    inputs = {spec.name: spec for one in loaded for spec in one.inputs}
    outputs = {spec.name: spec for one in loaded for spec in one.outputs}
    for name in (*stages.inputs, *stages.outputs):
        if name not in inputs and name not in outputs:
            raise ModelError(f"no stage has the tensor {name!r}; partition the model again")
    return Loaded(
        tuple(inputs[name] for name in stages.inputs),
        tuple(outputs[name] for name in stages.outputs),
        loaded[0].placement,
        any(one.quantized for one in loaded),
        (),
    )
