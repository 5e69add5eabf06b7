"""The repository of a server: which versions of which models answer, and how they change.

A version is loaded and proven next to the one that answers, and takes its place in one step. The
old one finishes what it accepted, and then its memory goes back to the system. A version that
does not pass its proof changes nothing.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from runtimes.errors import KilnxError
from runtimes.serving.errors import Unavailable, not_found
from runtimes.serving.load import Loader
from runtimes.serving.protocol.documents import IndexEntry, ModelMetadata, ModelStatistics
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.sources import Source, Sources, choose_versions, version_order
from runtimes.serving.version import ServedVersion

_LOG = logging.getLogger("kilnx.serving")
Versions = dict[str, ServedVersion]


class Models:
    """All models of a server. Changed in the event loop only, one model at a time.

    Attributes:
        on_change: Called after each change of what is served.
        starting: Whether the models are being loaded for the first time.
    """

    def __init__(self, sources: Sources, policy: str, loader: Loader) -> None:
        self._sources, self._policy, self._loader = sources, policy, loader
        self._served: dict[str, Versions] = {}
        self._chosen: dict[str, ServedVersion] = {}
        self._failed: dict[tuple[str, str], str] = {}
        self._tried: dict[tuple[str, str], object] = {}
        self._unloaded: set[str] = set()
        self._lock = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        self._seen: dict[tuple[str, str], object] = {}
        self.starting = True
        self.on_change: Callable[[], None] = lambda: None

    def get(self, name: str, version: str | None = None) -> ServedVersion:
        """The version that answers; raises ``ProtocolError`` where none does."""
        known = self._served.get(name, {})
        chosen = known.get(version) if version else self._chosen.get(name)
        if chosen is None:
            raise self._missing(name, version)
        return chosen

    def __iter__(self) -> Iterator[ServedVersion]:
        for versions in self._served.values():
            yield from versions.values()

    @property
    def all_ready(self) -> bool:
        """Whether every model that was asked for answers."""
        return not self._failed and not self.starting

    def ready(self, name: str, version: str | None) -> bool:
        """Whether the model answers requests."""
        with suppress(ProtocolError):
            self.get(name, version)
            return True
        return False

    def metadata(self, name: str, version: str | None) -> ModelMetadata:
        """Its inputs and outputs."""
        found = self.get(name, version)
        versions = sorted(self._served[name], key=version_order)
        signature = found.signature
        return ModelMetadata(
            name,
            tuple(versions),
            "onnxruntime_onnx" if found.engine.startswith("ONNX Runtime") else found.engine,
            signature.inputs_metadata,
            signature.outputs_metadata,
        )

    def index(self, *, ready: bool = False) -> Sequence[IndexEntry]:
        """All versions that are known, or those that answer."""
        states: dict[tuple[str, str], IndexEntry] = {}
        with suppress(KilnxError):
            for name, sources in self._sources.find().items():
                for source in sources:
                    reason = "unloaded" if name in self._unloaded else "not chosen"
                    key = (name, source.version)
                    states[key] = IndexEntry(*key, "UNAVAILABLE", reason)
        for (name, version), reason in self._failed.items():
            states[name, version] = IndexEntry(name, version, "UNAVAILABLE", reason)
        for served in self:
            key = (served.name, served.version)
            failed = self._failed.get(key, "")
            note = f"the version loaded before answers: {failed}" if failed else ""
            states[key] = IndexEntry(*key, "READY", note)
        return [entry for _, entry in sorted(states.items()) if entry.state == "READY" or not ready]

    def statistics(self, name: str | None, version: str | None) -> Sequence[ModelStatistics]:
        """Of one version, of all versions of a model, or of all models."""
        if not name:
            found = list(self)
        elif version:
            found = [self.get(name, version)]
        else:
            self.get(name)
            found = list(self._served[name].values())
        return [one.statistics.document(one.name, one.version) for one in found]

    async def load_all(self, *, strict: Sequence[str] | None = None) -> None:
        """Load every model; those named in ``strict`` (None: all) have to load, or it raises."""
        for name in self._sources.find():
            try:
                await self.load(name)
            except KilnxError:
                if strict is None or name in strict:
                    raise
        self.starting = False

    async def load(self, name: str) -> None:
        """Load a model, or load it anew; raises where a version fails, and the old one stays."""
        async with self._lock:
            wanted = self._wanted(name)
            self._unloaded.discard(name)
            await self._load(name, wanted)

    async def install(
        self, name: str, version: str, unproven: Path, place: Path, put: Callable[[], Path]
    ) -> ServedVersion:
        """Serve the bundle at ``unproven``; ``put`` moves it to ``place`` once it is proven.

        Raises where it fails, or the model is served from elsewhere; nothing has changed then.
        """
        async with self._lock:
            there = self._sources.find().get(name, [])
            elsewhere = next((one for one in there if one.path != place), None)
            if elsewhere is not None:
                raise ProtocolError(
                    409, f"{name} is served from {elsewhere.path.name}, which no push replaces"
                )
            if not choose_versions([Source(name, version, place)], self._policy):
                raise ProtocolError(
                    409,
                    f"the server serves the versions {self._policy} (--versions), not {version}",
                )
            loaded = await asyncio.to_thread(self._loader.load, Source(name, version, unproven))
            try:
                loaded.servable.source = Source(name, version, await asyncio.to_thread(put))
            except BaseException:
                await loaded.close()
                raise
            self._unloaded.discard(name)
            self._forget_failures(name)
            self._tried[name, version] = loaded.servable.source.state()
            _LOG.info("model pushed", extra=_told(loaded))
            self._replace(name, {version: loaded})
            return loaded

    async def unload(self, name: str) -> None:
        """Answer no more requests for a model, and free its memory."""
        async with self._lock:
            if name not in self._served and not any(key[0] == name for key in self._failed):
                raise self._missing(name, None)
            self._unloaded.add(name)
            self._forget_failures(name)
            self._replace(name, {})
            _LOG.info("model unloaded", extra={"model": name})

    async def reload_settled(self) -> None:
        """As ``reload_changed``, once the files are as they were when this was last called."""
        with suppress(KilnxError):
            found = self._sources.find()
            before = self._seen
            self._seen = {(n, one.version): one.state() for n in found for one in found[n]}
            if self._seen == before:
                await self.reload_changed()

    async def reload_changed(self) -> None:
        """Load what changed on disk since it was loaded or tried; unload what is gone."""
        try:
            found = self._sources.find()
        except KilnxError as error:
            _LOG.error("the models cannot be looked at", extra={"reason": str(error)})
            return
        for name in {*found, *self._served} - self._unloaded:
            if name not in found:
                await self.unload(name)
                self._unloaded.discard(name)
            elif self._has_changed(name, found[name]):
                with suppress(KilnxError):  # it was logged, and what answered before still does
                    await self.load(name)

    async def close(self) -> None:
        """Finish all requests that were accepted, and free all models."""
        for name in list(self._served):
            self._replace(name, {})
        await asyncio.gather(*self._retiring)

    def cancel_waiting(self) -> None:
        """Give up all requests that have not started."""
        for served in self:
            served.scheduler.cancel_waiting()

    def _wanted(self, name: str) -> list[Source]:
        sources = self._sources.find().get(name, [])
        wanted = choose_versions(sources, self._policy)
        if not sources:
            raise not_found(f"there is no model {name[:200]!r} to load")
        if not wanted:
            there = ", ".join(source.version for source in sources)
            raise not_found(f"{name} has no version {self._policy} (--versions); it has {there}")
        return wanted

    def _has_changed(self, name: str, sources: list[Source]) -> bool:
        wanted = choose_versions(sources, self._policy)
        if {source.version for source in wanted} != {v for n, v in self._tried if n == name}:
            return True
        return any(self._tried.get((name, one.version)) != one.state() for one in wanted)

    async def _load(self, name: str, wanted: list[Source]) -> None:
        self._forget_failures(name)
        loaded: Versions = {}
        failure: KilnxError | None = None
        for source in wanted:
            self._tried[name, source.version] = source.state()
            try:
                loaded[source.version] = await asyncio.to_thread(self._loader.load, source)
            except KilnxError as error:
                failure = error
                self._failed[name, source.version] = str(error)
                _LOG.error("model not loaded", extra=_about(source, reason=str(error)))
            else:
                _LOG.info("model loaded", extra=_told(loaded[source.version]))
        kept = self._served.get(name, {}) if failure else {}
        self._replace(name, {**kept, **loaded})
        if failure is not None:
            raise self._not_loaded(name, failure)

    def _not_loaded(self, name: str, failure: KilnxError) -> KilnxError:
        if name not in self._served:
            return failure
        return ProtocolError(422, f"{failure}; what was loaded before still answers")

    def _replace(self, name: str, versions: Versions) -> None:
        """Let ``versions`` answer from now on, and retire those that did before."""
        retired = [
            one for one in self._served.pop(name, {}).values() if one not in versions.values()
        ]
        self._chosen.pop(name, None)
        if versions:
            self._served[name] = versions
            self._chosen[name] = versions[max(versions, key=version_order)]
        self.on_change()
        for one in retired:
            task = asyncio.get_running_loop().create_task(_retire(one))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    def _forget_failures(self, name: str) -> None:
        self._failed = {key: reason for key, reason in self._failed.items() if key[0] != name}
        self._tried = {key: state for key, state in self._tried.items() if key[0] != name}

    def _missing(self, name: str, version: str | None) -> ProtocolError:
        if self.starting:
            return Unavailable("the server is still loading its models")
        which = f"{name[:200]!r}" + (f" version {version[:100]!r}" if version else "")
        reasons = [reason for key, reason in self._failed.items() if key[0] == name]
        if reasons:
            return Unavailable(f"the model {which} could not be loaded: {reasons[0]}")
        if name in self._unloaded:
            return Unavailable(f"the model {which} is unloaded")
        return not_found(f"there is no model {which} here")


async def _retire(version: ServedVersion) -> None:
    await version.close()
    give_memory_back()
    _LOG.info("version retired", extra=_about(version.servable.source))


def give_memory_back() -> None:
    """Return freed memory to the system, which glibc does not do by itself."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _about(source: Source, **more: Any) -> dict[str, Any]:
    return {"model": source.name, "version": source.version, **more}


def _told(served: ServedVersion) -> dict[str, Any]:
    engine = served.scheduler.engine
    return _about(
        served.servable.source,
        digest=served.servable.digest,
        sample_ms=round(engine.seconds * 1e3, 3),
        inline=engine.inline_rows,
        batch=engine.batch_rows,
        rows=served.rows,
    )
