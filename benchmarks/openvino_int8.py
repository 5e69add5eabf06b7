"""Is INT8 for OpenVINO as accurate and as fast as what OpenVINO's own tool makes?

    python benchmarks/openvino_int8.py --models FOLDER --output FOLDER [--only CASE]...

FOLDER holds one folder per model: a Keras file, ``calibration.npz``, ``test.npz``; a transformer is
added. What runs in OpenVINO on one thread: fp32, what ``kilnx quantize`` writes with
``--target openvino`` and without it, and what NNCF writes by its default preset and another one.
NNCF runs in a virtual environment that is made under ``--cache``, with the OpenVINO of this one.

SQNR and agreement are against fp32 on the odd rows of the test data; kilnx judges on the even ones,
and all calibrate on the same samples. The files are timed interleaved, in random order; what is
told is the ratio of lower quartiles to NNCF's fastest file, at batch 1 and 32. What an earlier run
wrote into ``--output`` is used again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from peer_environment import python_with

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

CASES = ("resnet_s", "mbv2", "fer", "mtcnn_onet", "mtcnn_rnet", "lstm", "transformer")
KILNX = {"kilnx for OpenVINO": ["--target", "openvino"], "kilnx default": []}
NNCF = {"NNCF": "default", "NNCF mixed": "mixed", "NNCF transformer": "transformer"}
SIZES = (1, 32)

_AS_FAST = 1.02


def peers_of(case: str) -> dict[str, str]:
    """The choices of NNCF that make sense for the case."""
    other = "NNCF transformer" if case == "transformer" else "NNCF mixed"
    return {name: NNCF[name] for name in ("NNCF", other)}


def interpreter(cache: Path) -> str:
    """The Python that has NNCF installed, and the OpenVINO of this environment."""
    from importlib.metadata import version

    return python_with(["nncf", f"openvino=={version('openvino')}"], cache / "nncf")


def run(command: list[str]) -> None:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])


def make_case(case: str, models: Path, work: Path) -> None:
    """``model.onnx``, what calibrates, and the test data in two halves."""
    if (work / "odd.npz").exists():
        return
    from quantize_cases import cases

    work.mkdir(parents=True, exist_ok=True)
    cases(models)[case](models / case, work)
    test = np.load(work / "test.npz")
    for half, start in (("even", 0), ("odd", 1)):
        np.savez(work / f"{half}.npz", **{n: a[start:400:2] for n, a in unlabelled(test).items()})
    few = {
        name: array[:200] for name, array in unlabelled(np.load(work / "calibration.npz")).items()
    }
    np.savez(work / "few.npz", **few)


def unlabelled(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in data if not name.startswith("labels")}


def quantize(name: str, work: Path) -> None:
    """What kilnx writes: INT8, a mixture, or float where nothing else pays."""
    output = work / f"{name}.onnx"
    command = [sys.executable, "-m", "converter", "quantize", str(work / "model.onnx")]
    command += ["-o", str(output), "--data", str(work / "few.npz"), "--force"]
    command += ["--eval", str(work / "even.npz"), "--batch", "1", "--batch", "32"]
    if not output.exists():
        run([*command, *KILNX[name]])


def quantize_by_nncf(name: str, work: Path, python: str) -> None:
    output = work / f"{name}.xml"
    command = [python, str(ROOT / "benchmarks" / "openvino_peer.py"), "--output", str(output)]
    command += ["--model", str(work / "model.onnx"), "--data", str(work / "few.npz")]
    if not output.exists():
        run([*command, "--choice", NNCF[name]])


def measure(case: str, work: Path, seconds: float) -> dict[str, dict[str, Any]]:
    """Accuracy and speed of every file of the case."""
    files = {"fp32": work / "model.onnx"}
    files |= {name: work / f"{name}.onnx" for name in KILNX}
    files |= {name: work / f"{name}.xml" for name in peers_of(case)}
    compiled = {name: load(path) for name, path in files.items() if path.exists()}
    feed = inputs_of(compiled["fp32"], work / "odd.npz")
    wanted = answers(compiled["fp32"], feed)
    found = {
        name: {**accuracy(wanted, answers(one, feed)), "kernels": kernels(one)}
        for name, one in compiled.items()
    }
    for size in SIZES:
        times = race(compiled, {name: array[:size] for name, array in feed.items()}, seconds)
        for name, spent in times.items():
            found[name][f"us_{size}"] = spent * 1e6
    return found


def load(path: Path) -> Any:
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    return openvino.Core().compile_model(path, "CPU", {**options, "PERFORMANCE_HINT": "LATENCY"})


def inputs_of(compiled: Any, data: Path) -> dict[str, Any]:
    arrays = dict(np.load(data))
    kinds = {port.get_any_name(): port.get_element_type().to_dtype() for port in compiled.inputs}
    if len(kinds) == 1:
        arrays = {next(iter(kinds)): next(iter(arrays.values()))}
    return {name: np.ascontiguousarray(arrays[name], kind) for name, kind in kinds.items()}


def answers(compiled: Any, feed: Mapping[str, Any]) -> list[Any]:
    given = compiled({place: feed[p.get_any_name()] for place, p in enumerate(compiled.inputs)})
    return [np.array(given[port], np.float64) for port in compiled.outputs]


def accuracy(wanted: list[Any], found: list[Any]) -> dict[str, float]:
    """SQNR of the worst output, and agreement of the first output with two or more classes."""
    noises = [
        10 * np.log10(np.square(one).sum() / max(np.square(one - other).sum(), 1e-30))
        for one, other in zip(wanted, found, strict=True)
    ]
    classes = next((i for i, one in enumerate(wanted) if one.shape[-1] > 1), 0)
    same = wanted[classes].argmax(-1) == found[classes].argmax(-1)
    return {"sqnr_db": float(min(noises)), "agreement": float(same.mean())}


def kernels(compiled: Any) -> str:
    """How many convolutions and products there are, and how many of them on bytes."""
    told = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    wanted = {"Convolution", "FullyConnected", "MatMul", "RNNSeq", "RNNCell"}
    kinds = [
        t["runtimePrecision"].astype(str) for t in told if t["layerType"].astype(str) in wanted
    ]
    return f"{sum(kind in ('i8', 'u8') for kind in kinds)} of {len(kinds)}"


def race(models: Mapping[str, Any], feed: Mapping[str, Any], seconds: float) -> dict[str, float]:
    """Lower quartile of the seconds of a run, by model."""
    calls = {}
    for name, one in models.items():
        given = {place: feed[port.get_any_name()] for place, port in enumerate(one.inputs)}
        calls[name] = (one.create_infer_request(), given)
    times: dict[str, list[float]] = {name: [] for name in models}
    rng, end = np.random.default_rng(0), time.perf_counter() + seconds
    for request, given in [*calls.values()] * 3:
        request.infer(given, share_inputs=True)
    while time.perf_counter() < end or min(map(len, times.values())) < 9:
        for name in rng.permutation(list(calls)):
            request, given = calls[str(name)]
            start = time.perf_counter()
            request.infer(given, share_inputs=True)
            times[str(name)].append(time.perf_counter() - start)
    return {name: float(np.quantile(spent, 0.25)) for name, spent in times.items()}


def verdict(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Whether the file for OpenVINO is as accurate and as fast as NNCF's best of each."""
    peers = [one for name, one in found.items() if name in NNCF]
    own = found.get("kilnx for OpenVINO")
    if own is None or not peers:
        return "not measured"
    accurate = own["sqnr_db"] >= max(one["sqnr_db"] for one in peers)
    late = [n for n in SIZES if own[f"us_{n}"] > _AS_FAST * min(p[f"us_{n}"] for p in peers)]
    return ("SQNR " + ("yes" if accurate else "NO")) + (
        f", latency NO at batch {' and '.join(map(str, late))}" if late else ", latency yes"
    )


def table(results: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    lines = ["| model | file | SQNR dB | agreement | time 1 / 32 next to NNCF | kernels on bytes |"]
    lines.append("|---|---|---|---|---|---|")
    for case, found in results.items():
        for name, one in found.items():
            peers = [other for peer, other in found.items() if peer in NNCF] or [one]
            ratios = [one[f"us_{n}"] / min(p[f"us_{n}"] for p in peers) for n in SIZES]
            lines.append(
                f"| {case} | {name} | {one['sqnr_db']:.1f} | {one['agreement']:.1%} | "
                f"{' / '.join(f'{ratio:.2f}' for ratio in ratios)} | {one['kernels']} |"
            )
        lines.append(f"| {case} | **at least as good: {verdict(found)}** | | | | |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "kilnx-peers")
    parser.add_argument("--only", action="append", choices=CASES)
    parser.add_argument("--seconds", type=float, default=3.0)
    args = parser.parse_args()
    begin, python = time.perf_counter(), interpreter(args.cache)
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for case in args.only or CASES:
        work = args.output / case
        make_case(case, args.models, work)
        jobs = [partial(quantize, name, work) for name in KILNX]
        jobs += [partial(quantize_by_nncf, name, work, python) for name in peers_of(case)]
        for job in jobs:
            try:
                job()
            except RuntimeError as error:
                print(f"{case}, {job.args[0]}: {error}", file=sys.stderr, flush=True)
        results[case] = measure(case, work, args.seconds)
        print(f"{case}: {verdict(results[case])}", file=sys.stderr, flush=True)
        (args.output / "openvino.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    (args.output / "openvino.md").write_text(table(results), encoding="utf-8")
    print(table(results))
    print(f"{time.perf_counter() - begin:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
