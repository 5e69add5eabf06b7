"""How much memory a model takes, and the real cost of a process that shares pages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from runtimes.atomic_files import scratch_folder
from runtimes.base import Feed
from runtimes.child_process import python_path
from runtimes.errors import ModelError, RuntimeUnavailable

_CHILD = """
import json, sys
import numpy as np
from runtimes.engines.open_runtime import open_runtime
from runtimes.engines.ort import require_onnxruntime
from runtimes.process_memory import own_peak_bytes

require_onnxruntime()
model, feed, provider, threads = sys.argv[1:5]
with np.load(feed) as arrays:
    inputs = {name: arrays[name] for name in arrays.files}
before = own_peak_bytes()
with open_runtime(model, provider, threads=int(threads) or None) as runtime:
    for _ in range(3):
        runtime.run(inputs)
    elsewhere = runtime.peak_bytes_elsewhere()
print(json.dumps(own_peak_bytes() + elsewhere - before))
"""


def peak_memory(
    model: str | os.PathLike[str], feed: Feed, *, provider: str = "cpu", threads: int | None = None
) -> int:
    """Bytes that loading ``model`` and running it three times add to peak resident memory.

    The libraries themselves are not counted; what an engine needs in a process of its own is.
    Raises ``ModelError`` if the process fails, for example because it runs out of memory.
    """
    with scratch_folder() as folder:
        arrays = folder / "feed.npz"
        np.savez(arrays, **dict(feed))  # type: ignore[arg-type]
        command = [sys.executable, "-c", _CHILD, os.fspath(model), str(arrays), provider]
        done = subprocess.run(
            [*command, str(threads or 0)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": python_path()},
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        killed = " (killed: out of memory?)" if done.returncode < 0 else ""
        raise ModelError(
            f"{model} could not be run in a separate process{killed}: "
            f"{lines[-1] if lines else f'exit code {done.returncode}'}"
        )
    return int(json.loads(done.stdout.strip().splitlines()[-1]))


def proportional_bytes(pid: int | str = "self", kind: str = "Pss") -> int:
    """Proportional set size of a process in bytes: a page that n mappings share counts 1/n.

    ``kind``: ``Pss`` for all memory, ``Pss_Anon`` for anonymous memory, ``Pss_File`` for mapped
    files. Unlike resident set sizes, the sum over processes counts every page once. Raises
    ``RuntimeUnavailable`` if the kernel does not report it (Linux before 4.14, other systems).
    https://www.kernel.org/doc/html/latest/filesystems/proc.html
    """
    path = Path(f"/proc/{pid}/smaps_rollup")
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise RuntimeUnavailable(f"{path} cannot be read: {error.strerror}") from error
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if name == kind:
            return int(rest.split()[0]) * 1024
    raise RuntimeUnavailable(f"{path} has no field {kind!r}")
