"""One ONNX file in MNN or ncnn, in an environment of their own; started by ``mobile_runtime.py``.

    python benchmarks/mobile_peer.py mnn|ncnn --model M.onnx --feed F.npz --output O.npz

What is fed is in ``F.npz`` under the names of the inputs, in their order; the outputs are written
in the order of ``--names``. Each engine reads the file that its own converter makes: MNNConvert,
and pnnx for ncnn, which takes one sample at a time and is told to keep weights in float32.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def in_mnn(model: Path, feed: Mapping[str, Array], names: Sequence[str]) -> list[Array]:
    """The outputs called ``names`` of a whole batch."""
    from MNN import expr, nn

    made = model.with_suffix(".mnn")
    # Not by the program mnnconvert: it installs a package into whichever Python ``pip`` belongs to,
    # and tells its makers of each conversion.
    code = "import sys, _tools; _tools.mnnconvert(['mnnconvert', *sys.argv[1:]])"
    convert(
        [sys.executable, "-c", code, "-f", "ONNX", "--bizCode", "kilnx", "--useOriginRNNImpl"],
        ["--modelFile", str(model), "--MNNModel", str(made)],
        made,
    )
    network = nn.load_module_from_file(str(made), list(feed), list(names))
    kinds = {"float32": expr.float, "int32": expr.int, "int64": expr.int64}
    given = [
        expr.const(one, list(one.shape), expr.NCHW, kinds[one.dtype.name]) for one in feed.values()
    ]
    # MNN's own layout packs four channels together.
    return [np.array(expr.convert(one, expr.NCHW).read()) for one in network.forward(given)]


def in_ncnn(model: Path, feed: Mapping[str, Array], names: Sequence[str]) -> list[Array]:
    """All outputs, one sample after the other; ncnn knows them by their place."""
    import ncnn

    short = {"float32": "f32", "int32": "i32", "int64": "i64"}
    shapes = [
        f"[{','.join(map(str, (1, *one.shape[1:])))}]{short[one.dtype.name]}"
        for one in feed.values()
    ]
    made = model.with_suffix(".ncnn.param")
    (folder,) = find_spec("pnnx").submodule_search_locations  # type: ignore[union-attr,misc]
    convert(
        [str(Path(folder) / "pnnx"), str(model)],
        [f"inputshape={','.join(shapes)}", "fp16=0"],
        made,
    )
    rows: list[list[Array]] = []
    with ncnn.Net() as network:
        if network.load_param(str(made)) or network.load_model(str(made.with_suffix(".bin"))):
            raise SystemExit("ncnn does not load what pnnx wrote")
        for row in range(len(next(iter(feed.values())))):
            with network.create_extractor() as run:
                for place, one in enumerate(feed.values()):
                    run.input(f"in{place}", ncnn.Mat(as_fed(one[row : row + 1]), batch_index=0))
                rows.append([result_of(run, place) for place in range(len(names))])
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def as_fed(sample: Array) -> Array:
    """Integers are of 32 bits in ncnn, no others."""
    return np.ascontiguousarray(sample, np.int32 if sample.dtype.kind == "i" else np.float32)


def result_of(run: Any, place: int) -> Array:
    state, found = run.extract(f"out{place}")
    if state:
        raise SystemExit(f"ncnn gives no output {place}")
    return np.array(found.numpy(batch_index=0))


def convert(tool: Sequence[str], options: Sequence[str], made: Path) -> None:
    """Run a converter; they end with 0 where they fail, so that the file tells."""
    done = subprocess.run([*tool, *options], capture_output=True, text=True, check=False)
    if done.returncode or not made.exists():
        told = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
        raise SystemExit(f"{Path(tool[0]).name} made no file: {told[-1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=("mnn", "ncnn"))
    for name in ("model", "feed", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--names", nargs="+", required=True)
    args = parser.parse_args()
    with np.load(args.feed) as file:
        feed = {name: file[name] for name in file.files}
    run = {"mnn": in_mnn, "ncnn": in_ncnn}[args.engine]
    found = run(args.model, feed, args.names)
    np.savez(args.output, **dict(zip(args.names, found, strict=True)))


if __name__ == "__main__":
    main()
