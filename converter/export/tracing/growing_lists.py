"""Python lists that grow in a loop of the graph: ``found.append(step)``, then a stack of them.

AutoGraph makes a loop over a free number of steps one of the graph, in whose body an appended
tensor is one of the body alone. Here such a list is a tensor array while the loop runs, and what
it holds afterwards is put together by Keras' and TensorFlow's ``stack`` and ``concatenate``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

_LOOPS = "tensorflow.python.autograph.operators.control_flow._tf_while_stmt"
_JOINS = (
    ("keras.src.backend.numpy.stack", True),
    ("keras.src.backend.numpy.concatenate", False),
    ("tensorflow.stack", True),
    ("tensorflow.concat", False),
)


class Appended:
    """What a loop appended to a list: as many tensors as it had steps, stacked along axis 0."""

    def __init__(self, stacked: Any) -> None:
        self.stacked = stacked

    def along(self, axis: int, *, new: bool) -> Any:
        """The tensors stacked along a new axis, or put in a row along one that they have."""
        import tensorflow as tf

        rank = self.stacked.shape.rank
        axis = axis + (rank if new else rank - 1) if axis < 0 else axis
        before = [place + 1 for place in range(axis)]
        after = list(range(axis + 1, rank))
        moved = tf.transpose(self.stacked, [*before, 0, *after])
        if new:
            return moved
        static, sizes = self.stacked.shape[1:], tf.shape(self.stacked)[1:]
        shape = [sizes[i] if size is None else size for i, size in enumerate(static)]
        shape[axis] = -1
        return tf.reshape(moved, tf.stack(shape))


@contextmanager
def growing_lists() -> Iterator[None]:
    """While active, loops that AutoGraph rewrites may append to lists."""
    with ExitStack() as stack:
        stack.enter_context(patch(_LOOPS, _collecting(resolve_name(_LOOPS))))
        for name, new in _JOINS:
            stack.enter_context(patch(name, _joining(resolve_name(name), new=new)))
        yield


def _collecting(original: Callable[..., None]) -> Callable[..., None]:
    def loop(  # noqa: PLR0917
        test: Any, body: Any, get_state: Any, set_state: Any, names: Any, options: Any
    ) -> None:
        lists = _lists_of(body)
        grown = _grown(lists, body, get_state, set_state) if lists else []
        if not grown:
            return original(test, body, get_state, set_state, names, options)
        collected = _Collected(grown)

        def get() -> Any:
            return (*collected.state, *get_state())

        def put(state: Any) -> None:
            collected.state = tuple(state[: len(collected.state)])
            set_state(tuple(state[len(collected.state) :]))

        def step() -> None:
            body()
            collected.take()

        own = tuple(f"appended {place}" for place in range(len(collected.state)))
        original(test, step, get, put, (*own, *names), options)
        collected.give_back()
        return None

    return loop


class _Collected:
    """Lists that grow by a tensor a step, each with an array that takes what is appended."""

    def __init__(self, grown: Sequence[tuple[list[Any], Any]]) -> None:
        import tensorflow as tf

        self._lists = [found for found, _ in grown]
        arrays = [
            tf.TensorArray(spec.dtype, size=0, dynamic_size=True, element_shape=spec.shape)
            for _, spec in grown
        ]
        self.state: tuple[Any, ...] = (tf.constant(0), *arrays)

    def take(self) -> None:
        """Move what the body appended from the lists into the arrays."""
        place, *arrays = self.state
        pairs = zip(arrays, self._lists, strict=True)
        written = [array.write(place, found.pop()) for array, found in pairs]
        self.state = (place + 1, *written)

    def give_back(self) -> None:
        """Append to each list what all steps appended."""
        for array, found in zip(self.state[1:], self._lists, strict=True):
            found.append(Appended(array.stack()))


def _lists_of(body: Callable[..., Any]) -> list[list[Any]]:
    """The lists that a function reads from around it, and those that it calls in turn."""
    found: dict[int, list[Any]] = {}
    seen: set[int] = set()
    waiting: list[Any] = [body]
    while waiting:
        function = waiting.pop()
        seen.add(id(function))
        for cell in getattr(function, "__closure__", None) or ():
            try:
                content = cell.cell_contents
            except ValueError:  # assigned later
                continue
            if type(content) is list:
                found[id(content)] = content
            elif hasattr(content, "__closure__") and id(content) not in seen:
                waiting.append(content)
    return list(found.values())


def _grown(
    lists: Sequence[list[Any]], body: Any, get_state: Any, set_state: Any
) -> list[tuple[list[Any], Any]]:
    """The lists to which the body appends one tensor, and what that is; tried in a graph apart."""
    import tensorflow as tf

    before = get_state()
    lengths = [len(found) for found in lists]
    try:
        with tf.__internal__.FuncGraph("appends").as_default():
            body()
        return [
            (found, tf.TensorSpec.from_tensor(found[-1]))
            for found, length in zip(lists, lengths, strict=True)
            if len(found) == length + 1 and tf.is_tensor(found[-1])
        ]
    finally:
        set_state(before)
        for found, length in zip(lists, lengths, strict=True):
            del found[length:]


def _joining(original: Callable[..., Any], *, new: bool) -> Callable[..., Any]:
    """``stack`` (``new``) or ``concatenate`` that takes what a loop appended to a list."""

    def join(tensors: Any, axis: int = 0, *rest: Any, **options: Any) -> Any:
        import tensorflow as tf

        if not any(isinstance(one, Appended) for one in _members(tensors)):
            return original(tensors, axis, *rest, **options)
        whole = [
            one.along(axis, new=new)
            if isinstance(one, Appended)
            else tf.expand_dims(one, axis)
            if new
            else one
            for one in tensors
        ]
        return tf.concat(whole, axis) if len(whole) > 1 else whole[0]

    return join


def _members(tensors: Any) -> Sequence[Any]:
    return tensors if isinstance(tensors, list | tuple) else ()
