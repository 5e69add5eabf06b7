"""A device, as users name it: where models run and are timed in place of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.agent.addresses import Address
from runtimes.agent.client import RemoteRuntime
from runtimes.agent.link import Link
from runtimes.agent.messages import DeviceInfo, EnginesCall, ProfileCall
from runtimes.agent.parts import parts_of
from runtimes.agent.remote_job import RemoteJob
from runtimes.agent.remote_workbench import RemoteWorkbench
from runtimes.agent.typed_json import read
from runtimes.base import Array, Feed
from runtimes.data.dataset import Dataset
from runtimes.data.timing_inputs import sampled_inputs
from runtimes.engines.batching import fixed_batch
from runtimes.engines.installed import Installed
from runtimes.engines.keras import is_keras_file
from runtimes.engines.open_runtime import is_keras, is_runtime
from runtimes.engines.ort_session import Optimization
from runtimes.engines.provider_names import refuse_unknown_provider
from runtimes.engines.runtime import name_of
from runtimes.errors import ModelError, RuntimeUnavailable
from runtimes.onnx_files.load_save import (
    ModelSource,
    file_bytes,
    load_model,
    model_bytes,
    model_inputs,
)
from runtimes.options import RunOptions
from runtimes.profiling.options import ProfileOptions
from runtimes.profiling.report import ProfileReport

TOKEN_VARIABLE, CA_VARIABLE = "KILNX_DEVICE_TOKEN", "KILNX_DEVICE_CA"


@dataclass(frozen=True)
class Device:
    """A machine on which ``kilnx agent`` runs.

    Attributes:
        address: ``host:port``. TLS is spoken to every machine but this one; ``http://host:port``
            goes without.
        token: What the agent wants to know; None takes ``KILNX_DEVICE_TOKEN``.
        ca: A file of certificates (PEM) to trust; None takes ``KILNX_DEVICE_CA``, or else trusts
            what the system trusts.
        patience: Seconds for which the device may be away before it is given up.

    Example:
        >>> Device("pi.local:8714", "a token of sixteen or more")
        Device(address='pi.local:8714', ca=None, patience=20.0)
    """

    address: str
    token: str | None = field(default=None, repr=False)
    ca: str | os.PathLike[str] | None = None
    patience: float = 20.0

    def __str__(self) -> str:
        return str(Address.of(self.address, ca=self._ca))

    def info(self) -> DeviceInfo:
        """What the device is and what runs there; raises ``RuntimeUnavailable``."""
        link = self._link()
        try:
            return link.info()
        finally:
            link.close()

    def require(self, providers: Iterable[str]) -> None:
        """Raise ``RuntimeUnavailable`` unless the device answers and there are such providers."""
        for provider in providers:
            refuse_unknown_provider(provider)
        self.info()

    def installed(self, asked: Sequence[str] | None = None) -> Installed:
        """The engines that the device has, or those of them that are ``asked`` for.

        Raises ``RuntimeUnavailable`` for one that is asked for and is not there.
        """
        for provider in asked or ():
            refuse_unknown_provider(provider)
        link = self._link()
        job = RemoteJob(link)
        try:
            answer, _ = job.ask("engines", EnginesCall(None if asked is None else tuple(asked)))
            with link.understanding():
                return read(Installed, answer, "the engines")
        finally:
            job.end()
            link.close()

    def open(
        self,
        model: ModelSource,
        provider: str = "cpu",
        *,
        threads: int | None = 1,
        optimization: Optimization = "all",
        config: Mapping[str, str] | None = None,
        allow_fallback: bool = False,
    ) -> RemoteRuntime:
        """Open ``model`` on the device, as ``open_runtime`` opens it here."""
        _refuse_all_but_onnx(model)
        return RemoteRuntime(
            model,
            self._link(),
            provider=provider,
            threads=threads,
            optimization=optimization,
            config=config,
            allow_fallback=allow_fallback,
        )

    def workbench(self, *, keep: bool = True) -> RemoteWorkbench:
        """The device as what ``open_costs`` takes; ``keep``: whether it keeps what it measures."""
        return RemoteWorkbench(self._link(), keep=keep)

    def profile(
        self,
        model: ModelSource,
        *,
        against: ModelSource | None = None,
        threads: Sequence[int] = (1,),
        options: ProfileOptions,
        run: RunOptions,
    ) -> ProfileReport:
        """What ``profile`` finds on the device: models take turns there, and its clock is read."""
        models = [model] if against is None else [model, against]
        for one in models:
            _refuse_all_but_onnx(one)
        call = ProfileCall(
            options.provider,
            tuple(options.batch),
            tuple(threads),
            options.memory,
            options.operators,
            options.allow_fallback,
            options.min_time,
            options.max_time,
            run.seed,
            options.data is not None,
        )
        feed, notes = _feed(model, options)
        run.tell(f"timing on {self}")
        report = self._profiled(models, call, feed)
        sizes = [*map(_size, models), None]
        return replace(
            report,
            model=name_of(model),
            against=None if against is None else name_of(against),
            size_bytes=sizes[0],
            against_size_bytes=sizes[1],
            notes=(f"measured on the device {self}", *notes, *report.notes),
        )

    def _profiled(
        self, models: Sequence[ModelSource], call: ProfileCall, feed: Feed
    ) -> ProfileReport:
        link = self._link()
        job = RemoteJob(link)
        try:
            with ExitStack() as stack:
                parts = [stack.enter_context(parts_of(model)) for model in models]
                answer, _ = job.ask("profile", call, feed, parts)
            with link.understanding():
                return read(ProfileReport, answer, "the profile")
        finally:
            job.end()
            link.close()

    def _link(self) -> Link:
        token = self.token or os.environ.get(TOKEN_VARIABLE)
        address = Address.of(self.address, ca=self._ca)
        if not token or not token.isascii() or not token.isprintable():
            raise RuntimeUnavailable(
                f"the device {address} wants a token, which `kilnx agent` shows when it starts; "
                f"give it with --device-token or {TOKEN_VARIABLE}"
            )
        return Link(address, token, self._ca, self.patience)

    @property
    def _ca(self) -> str | os.PathLike[str] | None:
        return self.ca or os.environ.get(CA_VARIABLE) or None


def _refuse_all_but_onnx(model: Any) -> None:
    path = isinstance(model, str | os.PathLike) and is_keras_file(model)
    if path or is_runtime(model) or is_keras(model):
        raise ModelError(
            "a device runs ONNX files and graphs only; make an ONNX file of a Keras model with: "
            "kilnx convert"
        )


def _feed(model: ModelSource, options: ProfileOptions) -> tuple[Feed, tuple[str, ...]]:
    """What the device reads: samples, or nothing where it makes up its own."""
    if options.data is None:
        return {}, ()
    inputs = model_inputs(load_model(model))
    size = fixed_batch(inputs) or max(options.batch, default=1)
    samples = Dataset.open(options.data, inputs=inputs)
    made = sampled_inputs(samples, inputs, size)
    return _stacked(made.feed, size), (*samples.notes, *made.notes)


def _stacked(feed: Feed, batch: int) -> dict[str, Array]:
    """A feed of ``batch`` samples as data have it: a value for all samples stands in each."""
    return {
        name: np.repeat(array[None], batch, axis=0) if array.ndim == 0 else array
        for name, array in feed.items()
    }


def _size(model: ModelSource) -> int:
    if isinstance(model, str | os.PathLike):
        return file_bytes(Path(model))
    return model_bytes(model)
