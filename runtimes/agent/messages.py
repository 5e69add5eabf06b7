"""What client and agent say to each other, as dataclasses; ``typed_json.read`` checks them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from runtimes.agent.typed_json import Malformed

JOB_NAME = re.compile(r"[0-9a-f]{32}")
DIGEST = re.compile(r"[0-9a-f]{64}")

Level = Literal["disabled", "basic", "extended", "all"]

_LONGEST_NAME, _DEEPEST = 200, 4


@dataclass(frozen=True)
class Part:
    """A piece of a file, by SHA-256 and size in bytes."""

    digest: str
    size: int

    def __post_init__(self) -> None:
        if not DIGEST.fullmatch(self.digest) or self.size < 0:
            raise Malformed("a part of a file has no digest, or a negative size")


@dataclass(frozen=True)
class ModelFiles:
    """The files of one model, each as the parts that it is made of; ``main`` is the ONNX file."""

    main: str
    files: Mapping[str, tuple[Part, ...]]

    def __post_init__(self) -> None:
        if self.main not in self.files:
            raise Malformed("a model lacks its own file")
        for name in self.files:
            _check_name(name)

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts of all files."""
        return tuple(part for parts in self.files.values() for part in parts)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(part.size for part in self.parts)


def _check_name(name: str) -> None:
    """Raise ``Malformed`` unless a file of this name stays in the folder that it is put into."""
    pure = PurePosixPath(name)
    plain = name.isprintable() and "\\" not in name and pure.as_posix() == name
    inside = not pure.is_absolute() and ".." not in pure.parts and name not in ("", ".")
    if not (plain and inside and len(name) <= _LONGEST_NAME and len(pure.parts) <= _DEEPEST):
        raise Malformed(f"{name[:60]!r} is no name of a file inside a model's folder")


@dataclass(frozen=True)
class Request:
    """What a job is asked: the operation, models for it, and its options."""

    operation: str
    models: tuple[ModelFiles, ...] = ()
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class OpenCall:
    """Options of ``open``, as ``open_runtime`` has them."""

    provider: str = "cpu"
    threads: int | None = 1
    optimization: Level = "all"
    config: Mapping[str, str] | None = None
    allow_fallback: bool = False


@dataclass(frozen=True)
class Spec:
    """An input or output: ``dtype`` by name, ``shape`` as in ``TensorSpec``."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True)
class Placed:
    """A node that runs elsewhere than on the provider."""

    node: str
    op_type: str
    provider: str


@dataclass(frozen=True)
class Opened:
    """The answer to ``open``."""

    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    optional_inputs: tuple[Spec, ...]
    quantized: bool
    asked: str
    counts: Mapping[str, int] | None
    elsewhere: tuple[Placed, ...]
    load_seconds: float


@dataclass(frozen=True)
class RunCall:
    """Options of ``run``: the outputs that are wanted."""

    outputs: tuple[str, ...]


@dataclass(frozen=True)
class HoldCall:
    """Options of ``hold``: the name under which the arrays that are sent will be timed."""

    key: str


@dataclass(frozen=True)
class TimeCall:
    """Options of ``time``: what is held, and for how many seconds it runs."""

    key: str
    seconds: float


@dataclass(frozen=True)
class Times:
    """The answer to ``hold`` and ``time``: seconds of each run."""

    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Watched:
    """The answer to ``watched``: what timing the open model showed besides its times.

    ``waited`` is the share of that time in which a run waited for a core; ``memory_bytes`` what
    engine and model added to the peak of the process.
    """

    waited: float
    memory_bytes: int | None


@dataclass(frozen=True)
class EnginesCall:
    """Options of ``engines``: the providers that are wanted; None: all that are installed."""

    asked: tuple[str, ...] | None


@dataclass(frozen=True)
class ProfileCall:
    """Options of ``profile``; ``sampled``: the inputs are sent, and not made up there."""

    provider: str
    batch: tuple[int, ...]
    threads: tuple[int, ...]
    memory: bool
    operators: bool
    allow_fallback: bool
    min_time: float
    max_time: float
    seed: int
    sampled: bool


@dataclass(frozen=True)
class CostsCall:
    """Options of ``trace`` and ``measure``; ``keep``: whether the device keeps what it measures."""

    threads: int
    keep: bool = True


@dataclass(frozen=True)
class Read:
    """What a kernel reads, as ``runtimes.costs.kernels.Tensor`` has it."""

    dtype: str
    shape: tuple[int, ...]
    constant: bool
    content: str


@dataclass(frozen=True)
class Traced:
    """A kernel in a model, as ``runtimes.costs.kernels.Executed`` has it."""

    signature: str
    op_type: str
    inputs: tuple[Read | None, ...]
    can_be_isolated: bool
    name: str
    origins: tuple[str, ...]
    times: int


@dataclass(frozen=True)
class Traces:
    """The answer to ``trace``: the kernels of each model."""

    models: tuple[tuple[Traced, ...], ...]


@dataclass(frozen=True)
class Measured:
    """The answer to ``measure``: the text of a cost table, and what should be known of it."""

    table: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """An error: the class of ``runtimes.errors`` that it is, and its message."""

    kind: str
    message: str


@dataclass(frozen=True)
class MachineTold:
    """The machine, as ``runtimes.costs.machine.Machine`` has it."""

    cpu: str
    features: tuple[str, ...]
    onnxruntime: str
    threads: int


@dataclass(frozen=True)
class DeviceInfo:
    """What an agent says of itself: its versions, the machine, what runs there."""

    protocol: int
    kilnx: str
    machine: MachineTold
    cores: int
    memory_bytes: int
    python: str
    platform: str
    engines: Mapping[str, str]
    body_bytes: int
    jobs: int
