"""How a bundle is pushed, by those who know the control token.

::

    PUT  /v2/repository/pushes/ID              the recipe: what is missing, or that it is served
    PUT  /v2/repository/pushes/ID/parts/0-3,7  those parts, one after the other
    POST /v2/repository/pushes/ID              all is there: prove it, and serve it

``ID`` is the SHA-256 of the recipe, and every request may be sent again. The models that are served
change with the last one, if the bundle passes its proof, or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from runtimes.agent.messages import DIGEST
from runtimes.agent.store import MissingParts
from runtimes.agent.typed_json import Malformed
from runtimes.bundle.file_names import MANIFEST
from runtimes.errors import KilnxError
from runtimes.serving.access import Access
from runtimes.serving.errors import not_found
from runtimes.serving.exchange import Answer, Exchange
from runtimes.serving.models import Models
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.push.receiver import Receiver
from runtimes.serving.push.recipe import PUSHES, Recipe, digest_of, numbers_of, ranges
from runtimes.serving.version import ServedVersion

Handler = Callable[[Exchange], Awaitable[Answer]]
_JSON = (b"content-type", b"application/json")


class PushRoutes:
    """The handlers of pushes, by method; ``most_bytes``: what one request may carry."""

    def __init__(self, models: Models, most_bytes: int, receiver: Receiver, access: Access) -> None:
        self._models, self._most = models, most_bytes
        self._receiver, self._access = receiver, access
        self._finishing: dict[str, asyncio.Task[ServedVersion]] = {}
        self._alone = asyncio.Lock()

    def find(self, parts: list[str]) -> dict[str, Handler]:
        """The handlers of a path, by method; none where it is not about pushes."""
        if tuple(parts[:3]) != PUSHES or len(parts) < 4 or not DIGEST.fullmatch(parts[3]):
            return {}
        push, rest = parts[3], parts[4:]
        if not rest:
            return {"PUT": partial(self._plan, push), "POST": partial(self._finish, push)}
        if len(rest) == 2 and rest[0] == "parts":
            return {"PUT": partial(self._take, push, rest[1])}
        return {}

    async def _plan(self, push: str, exchange: Exchange) -> Answer:
        self._access.check_control(exchange)
        raw = await exchange.body()
        if digest_of(raw) != push:
            raise ProtocolError(400, "the recipe is not what its digest says")
        served = self._served(await self._work(Recipe.of, raw))
        if served is not None:
            return _json(_told(served))
        missing = await self._work(self._receiver.plan, raw)
        return _json({"missing": ranges(missing), "most": self._most})

    async def _take(self, push: str, numbers: str, exchange: Exchange) -> Answer:
        self._access.check_control(exchange)
        body = await exchange.body()
        recipe = await self._work(self._receiver.recipe, push)
        wanted = await self._work(numbers_of, numbers, len(recipe.parts))
        await self._work(self._receiver.take, recipe, wanted, body)
        return _json({})

    async def _finish(self, push: str, exchange: Exchange) -> Answer:
        self._access.check_control(exchange)
        await exchange.body()
        # Whoever asks again, after its link broke, waits for what is already being done.
        task = self._finishing.get(push)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._install(push))
            self._finishing[push] = task
            task.add_done_callback(lambda _: self._finishing.pop(push, None))
        return _json(_told(await asyncio.shield(task)))

    async def _install(self, push: str) -> ServedVersion:
        async with self._alone:
            receiver = self._receiver
            bundle = await self._work(receiver.assemble, push)
            try:
                served = await self._models.install(
                    bundle.name,
                    bundle.version,
                    bundle.path,
                    receiver.place_of(bundle.name),
                    partial(receiver.put, bundle),
                )
            except ProtocolError:
                raise
            except KilnxError as error:
                raise ProtocolError(422, f"{error}; what is served has not changed") from error
            finally:
                bundle.path.unlink(missing_ok=True)
            await self._work(receiver.forget, push)
            return served

    async def _work(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """``function`` in a thread; what it raises, as it is answered."""
        try:
            return await asyncio.to_thread(function, *arguments)
        except MissingParts as error:
            raise not_found(f"{error}: begin the push again") from error
        except Malformed as error:
            raise ProtocolError(400, str(error)) from error
        except KilnxError as error:
            raise ProtocolError(422, str(error)) from error
        except OSError as error:
            reason = error.strerror or error
            raise ProtocolError(507, f"the server cannot keep it: {reason}") from error

    def _served(self, recipe: Recipe) -> ServedVersion | None:
        """The version that answers and is the bundle of this recipe."""
        manifest = recipe.files.get(MANIFEST, ())
        digest = f"sha256:{manifest[0].digest}" if len(manifest) == 1 else None
        return next((one for one in self._models if one.servable.digest == digest), None)


def _told(served: ServedVersion) -> dict[str, str]:
    return {"name": served.name, "version": served.version, "digest": served.servable.digest}


def _json(value: Any) -> Answer:
    return 200, [_JSON], msgspec.json.encode(value)
