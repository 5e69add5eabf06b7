"""Tries the models of one library, each in a process of its own; see ``model_zoo.py``.

Started in the library's own environment. The library is imported once; every model is tried in a
fork of that process, which costs no second import, and whose memory and time have a limit.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

_TOLERANCE = {"float16": 2e-2, "float32": 1e-3, "float64": 1e-6}


def attempt(case: Any, folder: Path, from_file: bool) -> dict[str, Any]:
    """What came of one model: ``right``, ``refused``, ``wrong``, ``traceback`` or ``keras``."""
    from zoo_case import feed_of

    try:
        model = case.build()
        stir(model)
        feeds = [feed_of(case, model, number) for number in (0, 1)]
        expected = [answers(model, feed) for feed in feeds]
        empty = [all(np.isnan(array).all() for array in outputs) for outputs in expected]
        if any(empty):
            return {"status": "keras", "detail": "its outputs are not numbers"}
    except Exception as error:
        return {"status": "keras", "detail": _said(error), "trace": traceback.format_exc()}
    source, note = saved(model, folder) if from_file else (model, "")
    return {"note": note, **converted(source, folder / "model.onnx", feeds, expected)}


def stir(model: Any) -> None:
    """Move every weight by some noise, so that none is at a value that hides a fault."""
    random = np.random.default_rng(0)
    for variable in model.weights:
        if not str(variable.dtype).startswith("float") or "seed" in variable.path:
            continue
        values = np.asarray(variable.value, np.float64)
        moved = values + 0.05 * random.standard_normal(values.shape)
        if "variance" in variable.path:
            moved = np.abs(moved) + 0.1
        variable.assign(moved.astype(str(variable.dtype)))


def answers(model: Any, feed: dict[str, Any]) -> list[Any]:
    """What the model gives when it is called; its outputs flat and in order."""
    import keras

    outputs = model(feed if len(feed) > 1 else next(iter(feed.values())), training=False)
    return [np.asarray(array) for array in keras.tree.flatten(outputs)]


def saved(model: Any, folder: Path) -> tuple[Any, str]:
    """The file that the model was written to and read from again, else the live model."""
    import keras

    path = folder / "model.keras"
    try:
        model.save(path)
        keras.models.load_model(path, compile=False)
    except Exception as error:
        return model, f"live: Keras does not save or load it: {_said(error)[:160]}"
    return path, ""


def converted(
    source: Any, target: Path, feeds: Sequence[dict[str, Any]], expected: Sequence[list[Any]]
) -> dict[str, Any]:
    from converter import convert
    from runtimes.errors import KilnxError

    with_data = ""
    try:
        try:
            convert(source, target)
        except KilnxError as error:
            if "itself fails on sample" not in str(error):
                raise
            with_data = "needs --data"
            convert(source, target, data=feeds[1])
    except KilnxError as error:
        return {"status": "refused", "detail": f"{type(error).__name__}: {error}"}
    except Exception as error:
        return {"status": "traceback", "detail": _said(error), "trace": traceback.format_exc()}
    found = [judged(target, feed, outputs) for feed, outputs in zip(feeds, expected, strict=True)]
    wrong = [one for one in found if one]
    return {"status": "wrong" if wrong else "right", "detail": "; ".join(wrong) or with_data}


def judged(path: Path, feed: dict[str, Any], expected: list[Any]) -> str:
    """What is wrong with a file's answers; empty where nothing is."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        # Keras numbers inputs without names anew when it loads a file; their order stays.
        names = [one.name for one in session.get_inputs()]
        known = set(names) == set(feed)
        given = session.run(None, feed if known else dict(zip(names, feed.values(), strict=True)))
    except Exception as error:
        return _said(error)[:400]
    if len(given) != len(expected):
        return f"{len(given)} outputs for {len(expected)}"
    return "; ".join(filter(None, map(_difference, given, expected)))


def _difference(one: Any, other: Any) -> str:
    if one.shape != other.shape:
        return f"shape {one.shape} for {other.shape}"
    if other.dtype.kind not in "fV":
        return "" if np.array_equal(one, other) else f"{(one != other).mean():.1%} differ"
    if not np.array_equal(np.isnan(one), np.isnan(other)):
        return "NaN at other places"
    finite = np.isfinite(other)
    if not np.array_equal(one[~finite & ~np.isnan(one)], other[~finite & ~np.isnan(other)]):
        return "infinite at other places"
    apart = np.abs(one[finite].astype(np.float64) - other[finite]).max(initial=0)
    largest = np.abs(other[finite].astype(np.float64)).max(initial=0)
    allowed = _TOLERANCE.get(str(other.dtype), 5e-2) * largest + 1e-6
    return "" if apart <= allowed else f"off by {apart:.2e} at a magnitude of {largest:.2e}"


def _said(error: BaseException) -> str:
    return re.sub(r"\s+", " ", f"{type(error).__name__}: {error}")[:1500]


def in_a_fork(
    case: Any, seconds: float, gigabytes: float, *, from_file: bool = False
) -> dict[str, Any]:
    """``attempt`` in a child that is ended at its limits."""
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "result.json"
        begin = time.perf_counter()
        child = os.fork()
        if child == 0:
            _be_the_child(case, Path(scratch), result, from_file)
        peak, ended = 0.0, ""
        while os.waitpid(child, os.WNOHANG)[0] == 0:
            peak = max(peak, _resident(child))
            over_time = time.perf_counter() - begin > seconds
            if over_time or peak > gigabytes:
                ended = f"{seconds:.0f} s" if over_time else f"{gigabytes} GB"
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                break
            time.sleep(0.1)
        found = {"status": "traceback", "detail": f"ended at {ended}" if ended else "died"}
        if result.exists():
            found = json.loads(result.read_text(encoding="utf-8"))
    measured = {"seconds": round(time.perf_counter() - begin, 1), "peak_gb": round(peak, 2)}
    return {**found, **measured}


def _be_the_child(case: Any, folder: Path, result: Path, from_file: bool) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        found = attempt(case, folder, from_file)
        result.write_text(json.dumps(found), encoding="utf-8")
    finally:
        os._exit(0)


def _resident(process: int) -> float:
    """GB that a process holds now."""
    try:
        text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = re.search(r"VmRSS:\s+(\d+)", text)
    return int(found.group(1)) / 1024**2 if found else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--library", required=True, help="the module of its cases")
    parser.add_argument("--cases", type=Path, required=True, help="names of the cases, a line each")
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--gigabytes", type=float, default=6)
    parser.add_argument("--from-file", action="store_true")
    args = parser.parse_args()
    module = importlib.import_module(args.library)
    module.warm_up()
    import tf2onnx.tfonnx  # noqa: F401 - seconds that no fork spends again

    import converter.export.convert  # noqa: F401

    wanted = set(args.cases.read_text(encoding="utf-8").splitlines())
    for case in module.cases():
        if case.name in wanted:
            found = in_a_fork(case, args.seconds, args.gigabytes, from_file=args.from_file)
            print(json.dumps({"case": case.name, **found}), flush=True)


if __name__ == "__main__":
    main()
