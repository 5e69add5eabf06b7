"""A process whose Keras runs on TensorFlow, for what this one's cannot do.

Keras chooses its backend once in the life of a process. A function, its arguments and what it
returns or raises go through files of pickles that only the two processes write and read.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from runtimes.atomic_files import scratch_folder
from runtimes.errors import DataError, KilnxError, ModelError, error_class
from runtimes.keras_models.backend import TENSORFLOW

R = TypeVar("R")

_CHILD = "import sys; from converter.export.tensorflow_process import answer; answer(*sys.argv[1:])"


def in_tensorflow(function: Callable[..., R], *arguments: Any) -> R:
    """What ``function``, which a module holds, returns in a process with TensorFlow.

    A ``KilnxError`` that it raises is raised here. Raises ``DataError`` for arguments that cannot
    go to another process, and ``ModelError`` where that is killed.
    """
    with scratch_folder() as folder:
        question, answered = folder / "question", folder / "answer"
        try:
            question.write_bytes(pickle.dumps((function, arguments)))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise DataError(
                "Keras does not run on TensorFlow here, so that the model is converted in a "
                f"process of its own, and what was given cannot go there ({error}); give data as a "
                "file or as arrays, and classes and functions that a module holds"
            ) from error
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, str(question), str(answered)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "KERAS_BACKEND": TENSORFLOW, "PYTHONPATH": _path()},
        )
        if not answered.exists():
            killed = " (killed: out of memory?)" if done.returncode < 0 else ""
            lines = done.stderr.strip().splitlines()
            raise ModelError(
                f"the process that converts the model with TensorFlow ended{killed}: "
                f"{lines[-1] if lines else f'exit code {done.returncode}'}"
            )
        kind, result = pickle.loads(answered.read_bytes())  # written by answer()
    if kind == "returned":
        return result  # type: ignore[no-any-return]
    raise _raised(kind, result)


def answer(question: str, answered: str) -> None:
    """Call what the file ``question`` holds, and write what came of it to ``answered``."""
    found: tuple[str, Any]
    try:
        function, arguments = pickle.loads(Path(question).read_bytes())
        found = "returned", function(*arguments)
    except KilnxError as error:
        found = type(error).__name__, str(error)
    except Exception:
        found = "failed", traceback.format_exc()
    whole = Path(f"{answered}.tmp")
    whole.write_bytes(pickle.dumps(found))
    whole.rename(answered)


def _raised(kind: str, text: str) -> Exception:
    known = error_class(kind)
    if known is not None:
        return known(text)
    return RuntimeError(f"in the process that has TensorFlow:\n{text}")


def _path() -> str:
    """Everything that can be imported here can be imported there."""
    return os.pathsep.join(str(Path(place).resolve()) for place in sys.path)
