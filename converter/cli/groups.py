"""Options that go together on the command line, each group as one dataclass of a command.

``@grouped`` puts the fields of a command's groups among its own options, so that an option and
its help stand once, and reading them stands once.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from converter.cli.options import (
    Costs,
    Custom,
    DeviceAddress,
    DeviceCa,
    DeviceToken,
    Effort,
    ImageOffset,
    ImageScale,
    ImageSize,
    MaxDrop,
    Metric,
    MinAgreement,
    MinSqnr,
    Seed,
    Signature,
    SignatureKey,
    SkipBroken,
    Stress,
    Strict,
    Threads,
    TimeBudget,
    TrustCosts,
    Unsafe,
    Weights,
    custom_of,
    data_of,
    signature_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from runtimes.agent.device import Device
    from runtimes.options import KerasOptions, RunOptions
    from runtimes.parity.budget import Budget
    from runtimes.progress import Progress


@dataclass(frozen=True)
class ImageGroup:
    """How the images of a folder are read."""

    image_size: ImageSize = None
    image_scale: ImageScale = None
    image_offset: ImageOffset = None
    skip_broken_images: SkipBroken = False

    def open(self, path: Path | None) -> Any:
        """The data at ``path``, with these options where it is a folder of images."""
        return data_of(
            path, self.image_size, self.image_scale, self.image_offset, self.skip_broken_images
        )


@dataclass(frozen=True)
class BudgetGroup:
    """What loss is acceptable."""

    metric: Metric = None
    max_drop: MaxDrop = None
    min_agreement: MinAgreement = None
    min_sqnr: MinSqnr = None
    strict: Strict = False
    stress: Stress = "default"

    def budget(self) -> Budget:
        """The budget that the options state."""
        from runtimes.parity.budget import Budget

        metric = ",".join(self.metric) if self.metric else None
        floors = self.min_agreement, self.min_sqnr
        return Budget(metric, self.max_drop, *floors, self.strict, stress=self.stress)


@dataclass(frozen=True)
class KerasGroup:
    """How a Keras model is read."""

    signature: Signature = None
    custom: Custom = None
    unsafe: Unsafe = False
    signature_key: SignatureKey = None
    weights: Weights = None

    def keras(self) -> KerasOptions:
        """The options as functions take them."""
        from runtimes.options import KerasOptions

        return KerasOptions(
            signature_of(self.signature),
            custom_of(self.custom),
            self.unsafe,
            self.signature_key,
            self.weights,
        )


@dataclass(frozen=True)
class CostsGroup:
    """What decides which of two models is faster."""

    costs: Costs = None
    trust_costs: TrustCosts = False


@dataclass(frozen=True)
class DeviceGroup:
    """Which machine measures and judges."""

    device: DeviceAddress = None
    device_token: DeviceToken = None
    device_ca: DeviceCa = None

    def open(self) -> Device | None:
        """The device; None for this machine."""
        if self.device is None:
            return None
        from runtimes.agent.device import Device

        return Device(self.device, self.device_token, self.device_ca)


@dataclass(frozen=True)
class EffortGroup:
    """How long a command may take, and how hard it tries."""

    time_budget: TimeBudget = None
    effort: Effort = "default"

    def seconds(self) -> float | None:
        """The time budget in seconds; ``DataError`` names the option otherwise."""
        from runtimes.durations import seconds_of

        return None if self.time_budget is None else seconds_of(self.time_budget, "--time-budget")


@dataclass(frozen=True)
class RunGroup:
    """How models run while they are measured."""

    threads: Threads = 1
    seed: Seed = 0

    def run(self, progress: Progress | None = None) -> RunOptions:
        """The options as functions take them."""
        from runtimes.options import RunOptions

        return RunOptions(self.threads, self.seed, progress)

    def training(self, progress: Progress | None = None) -> RunOptions:
        """The same for a command that trains: TensorFlow gets as many threads, too.

        It begins when a Keras model is exported, and takes all cores from then on. The process
        belongs to the command; what the user's environment says stands.
        """
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(self.threads))
        return self.run(progress)


def grouped(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let ``command``, whose groups are parameters, take their fields as options of its own."""
    hints = get_type_hints(command, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters = []
    for one in inspect.signature(command).parameters.values():
        if one.name in groups:
            parameters += _fields(groups[one.name])
        else:
            parameters.append(
                one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[one.name])
            )

    @functools.wraps(command)
    def call(**options: Any) -> Any:
        for name, kind in groups.items():
            own = {one.name: options.pop(one.name) for one in fields(kind)}
            options[name] = kind(**own)  # type: ignore[operator]
        return command(**options)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {one.name: one.annotation for one in parameters}
    return call


def _fields(kind: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if one.default is MISSING else one.default,
            annotation=hints[one.name],
        )
        for one in fields(kind)
    ]
