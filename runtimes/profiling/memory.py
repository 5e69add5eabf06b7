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
from runtimes.errors import ModelError, RuntimeUnavailable

# Not getrusage: its peak includes the process before exec, and so the parent's memory.
_CHILD = """
import json, sys
import numpy as np
from runtimes.engines.open_runtime import open_runtime
from runtimes.engines.ort import require_onnxruntime

require_onnxruntime()
model, feed, provider, threads = sys.argv[1:5]
with np.load(feed) as arrays:
    inputs = {name: arrays[name] for name in arrays.files}
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
before = peak()
with open_runtime(model, provider, threads=int(threads) or None) as runtime:
    loaded = peak()
    for _ in range(3):
        runtime.run(inputs)
    elsewhere = runtime.peak_bytes() if hasattr(runtime, "peak_bytes") else 0
print(json.dumps([before, loaded, peak() + elsewhere]))
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
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-c", _CHILD, os.fspath(model), str(arrays), provider]
        done = subprocess.run(
            [*command, str(threads or 0)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": path},
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        killed = " (killed: out of memory?)" if done.returncode < 0 else ""
        raise ModelError(
            f"{model} could not be run in a separate process{killed}: "
            f"{lines[-1] if lines else f'exit code {done.returncode}'}"
        )
    before, _, peak = json.loads(done.stdout.strip().splitlines()[-1])
    return int(peak - before)


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
