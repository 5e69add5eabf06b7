"""Do models run right and fast on an NVIDIA GPU? CUDA and TensorRT, fp32, fp16 and INT8.

    python benchmarks/gpu.py model.onnx [int8.onnx …] --data samples.npz [--minutes 3.5]

The first file is float; its float16 form is made here. Every file runs on the CPU, with CUDA and
with TensorRT, each in a process of its own: parity against the first file on the CPU, where every
node ran (one that would fall back to the CPU is an error, and is named), latency at batch 1 and 32
with the copies to and from the GPU. TensorRT builds its engine when it first meets a shape, which
takes most of the time; what does not fit in the minutes is listed as left out. Exits with 1 if
something is wrong or does not run, and with 3 where there is no GPU or no ONNX Runtime for it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
from half import to_float16

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from runtimes import Budget, KilnxError, RunOptions  # noqa: E402
from runtimes.engines.ort import NO_SPINNING, OrtRuntime  # noqa: E402
from runtimes.engines.provider_names import PROVIDER_NAMES  # noqa: E402
from runtimes.engines.providers import is_available  # noqa: E402
from runtimes.racing.entry import Entry  # noqa: E402
from runtimes.racing.judge import Field  # noqa: E402
from runtimes.racing.remote import RemoteRuntime  # noqa: E402

GPU = ("cuda", "tensorrt")
_BATCH = 32
_WARM_UP, _MEASURED = 0.3, 1.0
# Starting a process and building a small engine; less than that is not worth beginning.
_LEAST_SECONDS = 10.0


@dataclass(frozen=True)
class Row:
    """One file on one provider: what parity says, where it ran, and milliseconds by batch size."""

    file: str
    provider: str
    outcome: str
    reason: str
    placement: str = ""
    load_s: float | None = None
    ms: dict[int, float] | None = None

    @property
    def right(self) -> bool:
        """Whether it ran, and stayed inside the budget."""
        return self.outcome == "right"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    providers = [name for name in GPU if name in PROVIDER_NAMES and is_available(name)]
    missing = _missing(providers)
    if missing:
        print(f"gpu.py: {missing}", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory(prefix="kilnx-gpu-") as folder:
        rows = list(measure(options, ["cpu", *providers], Path(folder)))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return int(not all(row.right for row in rows))


def measure(options: Any, providers: Sequence[str], folder: Path) -> Iterator[Row]:
    """A row a file and provider, printed as soon as it is known."""
    end = time.monotonic() + 60 * options.minutes
    files = [*options.models[:1], *_half(options.models[0], folder), *options.models[1:]]
    with OrtRuntime(str(files[0]), threads=1, config=NO_SPINNING) as reference:
        field = Field.of(reference, options.data, Budget(), RunOptions())
        for provider in providers:
            for file in files:
                row = _row(field, file, provider, end - time.monotonic())
                _print(row)
                yield row


def _row(field: Field, file: Path, provider: str, left: float) -> Row:
    if left < _LEAST_SECONDS:
        return Row(file.name, provider, "left out", "the time was up")
    try:
        names = field.names(file)
        with RemoteRuntime(file, provider, threads=1, patience=left) as runtime:
            entry = field.judge(Entry(file.name, provider, 1), runtime)
            if entry.refused is not None:
                return Row(file.name, provider, "does not run", entry.refused)
            row = Row(
                file.name,
                provider,
                "right" if entry.in_budget else "wrong",
                entry.verdict,
                str(runtime.placement),
                runtime.load_seconds,
            )
            feeds = field.feeds(names, runtime.inputs, _BATCH)
            return replace(row, ms={size: _ms(runtime, size, feed) for size, feed in feeds.items()})
    except KilnxError as error:
        return Row(file.name, provider, "does not run", str(error))


def _ms(runtime: RemoteRuntime, size: int, feed: Any) -> float:
    runtime.hold(str(size), feed)
    runtime.time(str(size), _WARM_UP)
    return statistics.median(runtime.time(str(size), _MEASURED)) * 1e3


def _half(model: Path, folder: Path) -> list[Path]:
    """The float16 form beside the other files, unless the model has none."""
    path = folder / f"{model.stem}_fp16.onnx"
    try:
        ir.save(to_float16(ir.load(model)), path)
    except ValueError as error:
        print(f"no float16: {error}")
        return []
    return [path]


def _missing(providers: Sequence[str]) -> str | None:
    """What this machine lacks, in a sentence; None if it has a GPU and what knows it."""
    if not providers:
        return (
            "the installed ONNX Runtime has neither CUDA nor TensorRT; on a machine with an NVIDIA "
            "GPU: pip uninstall -y onnxruntime && pip install onnxruntime-gpu"
        )
    if not has_gpu():
        return "there is no NVIDIA GPU here (no /dev/nvidia0), and this measures one"
    return None


def has_gpu() -> bool:
    """Whether the driver shows a GPU, in a container, too."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


def _print(row: Row) -> None:
    times = ", ".join(f"{value:.3f} ms at batch {size}" for size, value in (row.ms or {}).items())
    print(f"{row.file} on {row.provider}: {row.outcome}; {times or row.reason}", flush=True)
    if times:
        print(f"    {row.reason}; {row.placement}", flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, help="ONNX files, a float one first")
    parser.add_argument(
        "--data", type=Path, required=True, help="samples, as kilnx check takes them"
    )
    parser.add_argument("--minutes", type=float, default=3.5, help="how long it may take")
    parser.add_argument("--json", type=Path, help="write the rows here")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
