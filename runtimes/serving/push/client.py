"""Push a bundle to a server: ask what it lacks, send that, let it prove and serve the bundle."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from runtimes.agent.messages import Part
from runtimes.agent.typed_json import Malformed
from runtimes.bundle.bundle import Bundle
from runtimes.bundle.file_names import UNLISTED
from runtimes.errors import ModelError, RuntimeUnavailable
from runtimes.progress import Progress
from runtimes.readable import ReadableReport
from runtimes.serving.push.catalogue import mapped
from runtimes.serving.push.cut import cut
from runtimes.serving.push.link import PushLink
from runtimes.serving.push.recipe import PUSHES, Recipe, digest_of, numbers_of, ranges

# What a request carries: a few parts, so that little is lost where a link breaks.
_PACK_BYTES, _PACK_PARTS = 4 << 20, 500
# Parts that others threw out while this push went on are sent again, so many times.
_ROUNDS = 3
_COMPRESSED = {"Content-Encoding": "deflate"}
_SAMPLE = 64 << 10


@dataclass(frozen=True)
class PushReport(ReadableReport):
    """What a server has now, and the bytes that it took: of the bundle's, and of the link's."""

    name: str
    version: str
    digest: str
    url: str
    bundle_bytes: int
    parts: int
    sent_parts: int
    sent_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return asdict(self)

    def headline(self) -> str:
        """What is served, and what that took."""
        return (
            f"{self.url} serves {self.name} {self.version}: {self.sent_bytes:,} bytes sent of "
            f"{self.bundle_bytes:,}, {self.sent_parts} parts of {self.parts}"
        )


def push(
    bundle: str | os.PathLike[str],
    url: str,
    *,
    token: str | None = None,
    ca: str | os.PathLike[str] | None = None,
    patience: float = 60.0,
    progress: Progress | None = None,
) -> PushReport:
    """Let a server serve ``bundle``, once it has proven itself there; only what it lacks is sent.

    Args:
        bundle: The folder, or the ``.kilnx`` file.
        url: ``host:port`` of ``kilnx serve --accept-pushes``, or with ``http://`` or ``https://``.
        token: The control token.
        ca: Certificates (PEM) by which the server is trusted; None: those of the system.
        patience: Seconds for which the server may be away before the push is given up; it goes on
            where it stopped when it is tried again.
        progress: Told the stage, and how many bytes are done.

    Raises:
        BundleError: It is no bundle, or not what its manifest says.
        RuntimeUnavailable: The server does not answer, or lets nobody push, or not with this token.
        ModelError: The server refuses the bundle; what it serves has not changed.
    """
    with Bundle.open(bundle) as opened:
        content = _files(opened)
        spans = cut(content)
        recipe = Recipe({name: _parts(content[name], spans[name]) for name in content})
        places = {
            part.digest: content[name][start:stop]
            for name in content
            for part, (start, stop) in zip(recipe.files[name], spans[name], strict=True)
        }
        link = PushLink.to(url, token=token, ca=ca, patience=patience)
        try:
            sent = _Push(link, recipe, places, progress).run()
        finally:
            link.close()
        return PushReport(
            opened.name,
            opened.version,
            opened.digest,
            link.url,
            recipe.size,
            len(recipe.parts),
            sent,
            link.sent_bytes,
        )


def _files(bundle: Bundle) -> dict[str, memoryview]:
    names = [*bundle.files, *(name for name in sorted(UNLISTED) if _is_there(bundle.folder, name))]
    return {name: mapped(bundle.folder / name) for name in names}


def _is_there(folder: Path, name: str) -> bool:
    return (folder / name).is_file()


def _parts(content: memoryview, spans: Sequence[tuple[int, int]]) -> tuple[Part, ...]:
    return tuple(Part(digest_of(content[start:stop]), stop - start) for start, stop in spans)


@dataclass
class _Push:
    link: PushLink
    recipe: Recipe
    places: Mapping[str, memoryview]
    progress: Progress | None

    def run(self) -> int:
        """Push until the server serves the bundle; how many parts were sent."""
        raw, sent = self.recipe.to_bytes(), 0
        path = f"/{'/'.join(PUSHES)}/{digest_of(raw)}"
        for _ in range(_ROUNDS):
            told = self._ask("PUT", path, zlib.compress(raw, 9), _COMPRESSED, known=False)
            assert told is not None
            if "digest" in told:  # it was served before, or is since the answer was lost
                return sent
            missing, most = self._planned(told)
            sent += len(missing)
            if self._send(path, missing, most) and self._ask("POST", path) is not None:
                return sent
        raise RuntimeUnavailable(
            f"{self.link.url} loses what is pushed to it: others push more than it keeps "
            "(--max-push); try again later"
        )

    def _planned(self, told: Mapping[str, Any]) -> tuple[list[int], int]:
        try:
            return numbers_of(str(told["missing"]), len(self.recipe.parts)), int(told["most"])
        except (Malformed, KeyError, ValueError, TypeError) as error:
            raise RuntimeUnavailable(f"{self.link.url} is not understood: {error}") from error

    def _send(self, path: str, missing: Sequence[int], most: int) -> bool:
        """Send parts; whether the server still knows of the push."""
        total = sum(self.recipe.parts[number].size for number in missing)
        done = 0
        for pack in self._packs(missing, min(most, _PACK_BYTES)):
            self._tell(done, total)
            body = b"".join(self.places[self.recipe.parts[number].digest] for number in pack)
            raw, headers = _smaller(body)
            if self._ask("PUT", f"{path}/parts/{ranges(pack)}", raw, headers) is None:
                return False
            done += len(body)
        self._tell(total, total)
        return True

    def _packs(self, missing: Sequence[int], most: int) -> Iterator[list[int]]:
        pack: list[int] = []
        size = 0
        for number in missing:
            part = self.recipe.parts[number]
            if pack and (size + part.size > most or len(pack) == _PACK_PARTS):
                yield pack
                pack, size = [], 0
            pack.append(number)
            size += part.size
        if pack:
            yield pack

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        known: bool = True,
    ) -> dict[str, Any] | None:
        """What the server answers; None where it does not know the push, or no more."""
        status, raw = self.link.request(method, path, body, headers or {})
        try:
            told = json.loads(raw)
            if not isinstance(told, dict):
                raise ValueError("it is no object")
        except (ValueError, RecursionError) as error:
            raise RuntimeUnavailable(f"{self.link.url} is not understood: {error}") from error
        if status == HTTPStatus.OK:
            return told
        if status == HTTPStatus.NOT_FOUND and known:
            return None
        raise _refusal(self.link.url, status, str(told.get("error", ""))[:1000])

    def _tell(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress("sending", done, total)


def _refusal(url: str, status: int, reason: str) -> Exception:
    if status == HTTPStatus.NOT_FOUND:
        return RuntimeUnavailable(
            f"{url} takes no bundles; whoever runs it allows that with: kilnx serve --repository "
            "FOLDER --accept-pushes"
        )
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return RuntimeUnavailable(f"{url}: {reason} (--token, or KILNX_CONTROL_TOKEN)")
    return ModelError(f"{url} does not serve the bundle: {reason or f'status {status}'}")


def _smaller(body: bytes) -> tuple[bytes, Mapping[str, str]]:
    """Compressed, if that pays; the weights of most models do not get smaller."""
    if len(zlib.compress(body[:_SAMPLE], 1)) < 0.9 * len(body[:_SAMPLE]):
        return zlib.compress(body, 6), _COMPRESSED
    return body, {}
