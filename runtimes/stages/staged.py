"""All stages of a model, one after the other, as one runtime."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from runtimes.base import Array, Feed
from runtimes.engines.runtime import Loaded, Runtime
from runtimes.errors import ModelError
from runtimes.stages.manifest import Stage, Stages, read_manifest
from runtimes.stages.open_stage import open_stage


def wanted_later(stages: Sequence[Stage]) -> list[frozenset[str]]:
    """For each stage, the names of what those behind it read."""
    return [
        frozenset(name for one in stages[place + 1 :] for name in one.inputs)
        for place in range(len(stages))
    ]


def only(arrays: Mapping[str, Array], names: Collection[str]) -> dict[str, Array]:
    """Those of ``arrays`` that are called so."""
    return {name: array for name, array in arrays.items() if name in names}


class StagedRuntime(Runtime):
    """The stages in ``folder`` on the CPU of this process, as a model like any other.

    Raises:
        DataError: The folder has no stages.
        ModelError: They are damaged, or do not load.
    """

    engine = "stages"

    def __init__(self, folder: Path, *, threads: int | None = 1) -> None:
        self._stack = ExitStack()
        super().__init__(str(folder), name=str(folder), threads=threads)

    def _load(self, source: str) -> Loaded:
        folder = Path(source)
        self.stages: Stages = read_manifest(folder)
        self._later = wanted_later(self.stages.stages)
        try:
            self._runtimes = [
                self._stack.enter_context(
                    open_stage(
                        folder,
                        replace(stage, device="cpu"),
                        exact=self.stages.exact,
                        where="threads",
                        threads=self.threads,
                    )
                )
                for stage in self.stages.stages
            ]
        except BaseException:
            self._stack.close()
            raise
        return whole(self.stages, [one.loaded for one in self._runtimes])

    def _run(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        carried = dict(feed)
        found: dict[str, Array] = {}
        for stage, runtime, later in zip(
            self.stages.stages, self._runtimes, self._later, strict=True
        ):
            given = runtime.run(only(carried, stage.inputs))
            found |= only(given, names)
            carried = only({**carried, **given}, later)
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
