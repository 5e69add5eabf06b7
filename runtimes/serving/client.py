"""A model on a server of the Open Inference Protocol v2, as a runtime like any other.

https://github.com/kserve/open-inference-protocol and, for binary data,
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from runtimes.base import Array, Feed, TensorSpec
from runtimes.engines.placement import Placement
from runtimes.engines.runtime import Loaded, Runtime
from runtimes.errors import DataError, ModelError, RuntimeUnavailable
from runtimes.serving.protocol.binary_elements import array_from_bytes, bytes_of
from runtimes.serving.protocol.datatypes import datatype_of, dtype_of
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.limits import ProtocolLimits
from runtimes.serving.protocol.shapes import declare_all

_HEADER = "Inference-Header-Content-Length"
_LIMITS = ProtocolLimits(body_bytes=1 << 30, elements=1 << 28)


class ServedModel(Runtime):
    """A model that a server has, over one connection that is made again when it breaks.

    Args:
        url: ``http://host:port/v2/models/NAME``, with ``/versions/V`` behind it for one version.
        token: What the server wants to know.
        ca: A file of certificates (PEM) by which it is trusted; None: those of the system.
        seconds: How long an answer may take.

    Raises:
        RuntimeUnavailable: The server does not answer.
        ModelError: It has no such model, or is not understood.
    """

    engine = "a server"

    def __init__(
        self, url: str, *, token: str | None = None, ca: str | None = None, seconds: float = 60.0
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "/v2/" not in parts.path:
            raise DataError(
                f"{url!r} is not the address of a model: http://host:8000/v2/models/NAME"
            )
        self._url, self._path = url, parts.path.rstrip("/")
        self._token, self._seconds = token, seconds
        self._host, self._port = parts.hostname, parts.port
        self._tls = ssl.create_default_context(cafile=ca) if parts.scheme == "https" else None
        self._connection: http.client.HTTPConnection | None = None
        super().__init__(url, name=url)

    def _load(self, source: Any) -> Loaded:
        try:
            return self._described()
        except BaseException:
            self._unload()
            raise

    def _described(self) -> Loaded:
        body, _ = self._request("GET", self._path, [], None)
        try:
            told = json.loads(body)
            inputs, outputs = (
                tuple(_spec(one) for one in told[which]) for which in ("inputs", "outputs")
            )
        except (ValueError, KeyError, TypeError, ProtocolError) as error:
            raise ModelError(f"{self._url} does not describe a model ({error})") from error
        return Loaded(inputs, outputs, Placement("server", None, ()), quantized=False)

    def _run(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        head, chunks = _asked(feed, names)
        body, length = self._request("POST", f"{self._path}/infer", [head, *chunks], len(head))
        try:
            found = _answered(body, length)
            return [found[name] for name in names]
        except (ValueError, KeyError, TypeError, ProtocolError) as error:
            raise ModelError(
                f"{self._url} gave an answer that is not understood: {error}"
            ) from error

    def _unload(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):
                connection.close()

    def _is_models_fault(self, error: Exception) -> bool:
        return False

    def _request(
        self, method: str, path: str, chunks: Sequence[Any], length: int | None
    ) -> tuple[bytes, int | None]:
        headers = {} if length is None else {_HEADER: str(length)}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        body = b"".join(chunks)
        for attempt in (1, 2):  # a connection that the server closed while it was idle is no fault
            fresh = self._connection is None
            try:
                status, found, got = self._once(method, path, body, headers)
                break
            except (OSError, http.client.HTTPException) as error:
                self._unload()
                if fresh or attempt == 2:
                    raise RuntimeUnavailable(
                        f"{self._url} does not answer ({type(error).__name__}: {error}); is "
                        "kilnx serve running there?"
                    ) from error
        if status >= 400:
            raise _refusal(self._url, status, found)
        return found, got

    def _once(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes, int | None]:
        if self._connection is None:
            if self._tls is None:
                made = http.client.HTTPConnection(self._host, self._port, timeout=self._seconds)
            else:
                made = http.client.HTTPSConnection(
                    self._host, self._port, timeout=self._seconds, context=self._tls
                )
            self._connection = made
        self._connection.request(method, path, body or None, dict(headers))
        with self._connection.getresponse() as answer:
            if answer.length is None or answer.length > _LIMITS.body_bytes:
                raise http.client.HTTPException("an answer without a size, or too large")
            length = answer.getheader(_HEADER)
            return answer.status, answer.read(), None if length is None else int(length)


def _spec(told: Mapping[str, Any]) -> TensorSpec:
    shape = told["shape"]
    known = None if shape is None else tuple(None if dim < 0 else int(dim) for dim in shape)
    return TensorSpec(str(told["name"]), dtype_of(str(told["datatype"])), known)


def _asked(feed: Feed, names: Sequence[str]) -> tuple[bytes, list[bytes | memoryview]]:
    """The JSON of a request, and the data behind it."""
    inputs, chunks = [], []
    for name, array in feed.items():
        datatype = datatype_of(array.dtype)
        data = bytes_of(datatype, array)
        chunks.append(data)
        inputs.append(
            {
                "name": name,
                "shape": list(array.shape),
                "datatype": datatype,
                "parameters": {"binary_data_size": len(data)},
            }
        )
    outputs = [{"name": name, "parameters": {"binary_data": True}} for name in names]
    return json.dumps({"inputs": inputs, "outputs": outputs}).encode(), chunks


def _answered(body: bytes, length: int | None) -> dict[str, Array]:
    """The arrays of an answer; raises ``ProtocolError`` and what a malformed one comes to."""
    end = len(body) if length is None else length
    if not 0 <= end <= len(body):
        raise ValueError("its JSON is longer than the answer")
    found, rest = {}, memoryview(body)[end:]
    for one in json.loads(body[:end])["outputs"]:
        shape = tuple(int(dim) for dim in one["shape"])
        (of,) = declare_all([(str(one["name"]), str(one["datatype"]), shape)], _LIMITS)
        size = one.get("parameters", {}).get("binary_data_size")
        if size is None:
            found[of.name] = np.array(one["data"], of.dtype).reshape(shape)
            continue
        if not 0 <= size <= len(rest):
            raise ValueError(f"the data of {of.name} end before they should")
        found[of.name] = array_from_bytes(of, rest[:size], _LIMITS)
        rest = rest[size:]
    return found


def _refusal(url: str, status: int, body: bytes) -> Exception:
    try:
        told = str(json.loads(body)["error"])[:500]
    except (ValueError, KeyError, TypeError):
        told = f"status {status}"
    kind = RuntimeUnavailable if status in (401, 403, 429, 503, 504) else ModelError
    return kind(f"{url}: {told}")
