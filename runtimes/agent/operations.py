"""What a job can be asked: to open a model, run it, time it, and measure its kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from runtimes.agent import messages
from runtimes.agent.protocol import decode, dtype_name, encode
from runtimes.agent.typed_json import Malformed, read
from runtimes.base import Feed, TensorSpec
from runtimes.costs import Costs, CostTable, open_costs
from runtimes.costs.kernels import Executed, trace_kernels
from runtimes.engines.installed import find_installed
from runtimes.engines.keras import is_keras_file
from runtimes.engines.open_runtime import open_runtime
from runtimes.engines.runtime import Runtime
from runtimes.errors import DataError, ModelError
from runtimes.json_values import plain
from runtimes.options import RunOptions
from runtimes.profiling.options import ProfileOptions
from runtimes.profiling.profile import profile
from runtimes.profiling.stopwatch import Stopwatch

T = TypeVar("T")
Answer = tuple[Any, Feed]

# Session settings that change how threads wait; others name files, or load code.
_CONFIG = ("session.intra_op.allow_spinning", "session.force_spinning_stop")
_MOST_BATCH, _MOST_THREADS = 65536, 1024
_LONGEST_SLICE = 60.0


class _Everything:
    """Contains whatever it is asked for."""

    def __contains__(self, _: object) -> bool:
        return True


class Session:
    """What the process of a job holds: the model that it opened, the costs that it measured.

    ``folder``: where the agent puts the models that a request speaks of.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._watch: Stopwatch | None = None
        self._costs: dict[messages.CostsCall, Costs] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def answer(self, frame: bytes) -> bytes:
        """The answer to a request of the agent; raises what goes wrong."""
        body, tensors = decode(frame, most_tensors=2**20)  # the agent counted them
        paths = [self._folder / name for name in body["paths"]]
        for path in paths:
            _refuse_all_but_onnx(path)
        operations: Mapping[str, Callable[..., Answer]] = {
            "open": self._open_model,
            "run": self._run,
            "hold": self._hold,
            "time": self._time,
            "watched": self._watched,
            "engines": _engines,
            "profile": _profile,
            "trace": self._trace,
            "measure": self._measure,
        }
        operation = operations.get(body["operation"])
        if operation is None:
            raise DataError(f"there is no operation {body['operation'][:40]!r}")
        found, arrays = operation(body["options"], paths, tensors)
        return encode({"ok": found}, arrays)

    def _open_model(self, options: Any, paths: Sequence[Path], _: Feed) -> Answer:
        call = read(messages.OpenCall, options, "open")
        (path,) = _exactly(paths, 1)
        _refuse_threads(call.threads or 1)
        refused = [name for name in call.config or {} if name not in _CONFIG]
        if refused:
            raise DataError(f"the session setting {refused[0][:80]!r} cannot be set from afar")
        self._open.close()
        self._watch = watch = Stopwatch()
        self._open.callback(watch.close)
        runtime = watch.open(
            lambda: open_runtime(
                path,
                call.provider,
                threads=call.threads,
                optimization=call.optimization,
                config=call.config,
                allow_fallback=call.allow_fallback,
            )
        )
        return plain(_opened(runtime, watch.load_seconds)), {}

    def _run(self, options: Any, _: Sequence[Path], tensors: Feed) -> Answer:
        call = read(messages.RunCall, options, "run")
        return {}, self._opened.runtime.run(tensors, call.outputs)

    def _hold(self, options: Any, _: Sequence[Path], tensors: Feed) -> Answer:
        call = read(messages.HoldCall, options, "hold")
        return plain(messages.Times((self._opened.hold(call.key, tensors),))), {}

    def _time(self, options: Any, _: Sequence[Path], __: Feed) -> Answer:
        call = read(messages.TimeCall, options, "time")
        if not 0 <= call.seconds <= _LONGEST_SLICE:
            raise DataError(f"a slice of time has 0 to {_LONGEST_SLICE:g} seconds")
        return plain(messages.Times(tuple(self._opened.time(call.key, call.seconds)))), {}

    def _watched(self, options: Any, _: Sequence[Path], __: Feed) -> Answer:
        watch = self._opened
        return plain(messages.Watched(watch.disturbed(), watch.memory())), {}

    def _trace(self, options: Any, paths: Sequence[Path], tensors: Feed) -> Answer:
        call = read(messages.CostsCall, options, "trace")
        _refuse_threads(call.threads)
        traced = tuple(
            tuple(
                _told(one)
                for one in trace_kernels(
                    path, tensors, threads=call.threads or None, known=_Everything()
                )
            )
            for path in paths
        )
        return plain(messages.Traces(traced)), {}

    def _measure(self, options: Any, paths: Sequence[Path], tensors: Feed) -> Answer:
        call = read(messages.CostsCall, options, "measure")
        _refuse_threads(call.threads)
        if call not in self._costs:
            self._costs[call] = open_costs(None if call.keep else "none", threads=call.threads)
        costs = self._costs[call]
        found = costs.predict_all(paths, tensors)
        asked = {one.kernel.signature for each in found for one, _ in each.kernels}
        table = costs.table
        readings = {name: table.readings[name] for name in asked}
        part = CostTable(table.machine, table.yardsticks, table.run_microseconds, readings)
        return plain(messages.Measured(part.to_json(), costs.notes)), {}

    @property
    def _opened(self) -> Stopwatch:
        if self._watch is None:
            raise DataError("no model is open in this job")
        return self._watch


def _engines(options: Any, _: Sequence[Path], __: Feed) -> Answer:
    call = read(messages.EnginesCall, options, "engines")
    return plain(find_installed(call.asked)), {}


def _profile(options: Any, paths: Sequence[Path], tensors: Feed) -> Answer:
    call = read(messages.ProfileCall, options, "profile")
    if not paths or len(paths) > 2:
        raise Malformed("a model is timed by itself or against one other")
    for count in call.threads:
        _refuse_threads(count)
    if any(not 0 < size <= _MOST_BATCH for size in call.batch):
        raise DataError(f"a batch size is between 1 and {_MOST_BATCH}")
    report = profile(
        paths[0],
        against=paths[1] if len(paths) == 2 else None,
        threads=call.threads,
        options=ProfileOptions(
            provider=call.provider,
            batch=call.batch,
            data=dict(tensors) if call.sampled else None,
            memory=call.memory,
            operators=call.operators,
            allow_fallback=call.allow_fallback,
            min_time=call.min_time,
            max_time=call.max_time,
        ),
        run=RunOptions(seed=call.seed),
    )
    return report.to_dict(), {}


def _refuse_all_but_onnx(path: Path) -> None:
    if is_keras_file(path):
        raise ModelError(f"{path.name} is a Keras file; an agent runs ONNX models only")


def _refuse_threads(threads: int) -> None:
    if not 0 <= threads <= _MOST_THREADS:
        raise DataError(f"a run takes 1 to {_MOST_THREADS} threads, not {threads}")


def _exactly(paths: Sequence[T], count: int) -> Sequence[T]:
    if len(paths) != count:
        raise Malformed(f"this takes {count} models, not {len(paths)}")
    return paths


def _opened(runtime: Runtime, load_seconds: float) -> messages.Opened:
    placement = runtime.placement
    return messages.Opened(
        tuple(map(_spec, runtime.inputs)),
        tuple(map(_spec, runtime.outputs)),
        tuple(map(_spec, runtime.optional_inputs)),
        runtime.quantized,
        placement.asked,
        None if placement.counts is None else dict(placement.counts),
        tuple(messages.Placed(one.node, one.op_type, one.provider) for one in placement.elsewhere),
        load_seconds,
    )


def _spec(spec: TensorSpec) -> messages.Spec:
    return messages.Spec(spec.name, dtype_name(spec.dtype), spec.shape)


def _told(one: Executed) -> messages.Traced:
    kernel = one.kernel
    return messages.Traced(
        kernel.signature,
        kernel.op_type,
        tuple(
            None
            if each is None
            else messages.Read(each.dtype, each.shape, each.constant, each.content)
            for each in kernel.inputs
        ),
        kernel.can_be_isolated,
        one.name,
        one.origins,
        one.times,
    )
