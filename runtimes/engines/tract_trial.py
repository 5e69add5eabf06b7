"""Whether tract runs a model, tried in a process of its own: some models make it end the process.

A panic of tract's Rust code cannot be caught through its C interface.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from runtimes.engines.fixed_sizes import Sizes

# Only what is needed: it starts in a tenth of a second.
_CHILD = """
import json, os, sys
import numpy as np
import tract
path, inputs = sys.argv[1], json.loads(sys.argv[2])
try:
    model = tract.onnx().load(path).into_model().into_runnable()
    model.run([np.ones(shape, dtype) for shape, dtype in inputs][:model.input_count()])
except tract.TractError:
    pass
"""

_SECONDS = 300


class TractPanicked(Exception):
    """tract ended the process; the text is its last words."""


def try_in_a_process(path: Path, sizes: Sizes, dtypes: Sequence[str]) -> None:
    """Raise ``TractPanicked`` if tract ends a process that loads and runs the model on ones.

    What tract refuses in good order is left to the caller, who meets the same error.
    """
    inputs = json.dumps(list(zip(sizes, dtypes, strict=True)))
    command = [sys.executable, "-c", _CHILD, str(path), inputs]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TractPanicked(f"tract did not run the model in {_SECONDS} seconds") from error
    if done.returncode:
        raise TractPanicked(_last_words(done.stderr) or f"it ends with code {done.returncode}")


def _last_words(text: str) -> str:
    """The panic's message, without the place in tract's source and the stack."""
    found = re.search(r"panicked at [^\n]*\n(?P<why>[^\n]*)", text)
    return f"tract ends the process: {found['why']}" if found else text.strip()[-200:]
