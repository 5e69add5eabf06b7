"""Which quantizer is the most accurate, the fastest and the cheapest? kilnx and its peers.

    python benchmarks/quantize.py --models FOLDER --output FOLDER [--only CASE]... [--peer NAME]...

FOLDER holds one folder per model: a Keras file, ``calibration.npz``, ``test.npz``. The cases of
``quantize_cases.py`` are added to them. Every quantizer runs in a separate process, and peers in
virtual environments that are created under ``--cache``; one that cannot be installed is skipped,
with the reason. kilnx judges on the even rows of the test data, and all quantizers are measured on
the odd ones. Results go to ``quantize.json`` and ``quantize.md``; what an earlier run measured
there stays unless it is requested again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from peer_environment import python_with
from quantize_cases import cases

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PEERS = {
    "kilnx": None,
    "ORT default": None,
    "ORT U8S8 MinMax": None,
    "ORT U8S8 Percentile": None,
    "ORT dynamic": None,
    "kilnx high": None,
    "NNCF": ["nncf", "onnx", "onnxruntime"],
    "OpenVINO": ["nncf", "openvino", "onnxruntime"],
    "Quark": ["amd-quark", "torch", "onnx", "onnxruntime"],
    "LiteRT": ["tensorflow", "onnxruntime"],
}
"""What to install for each quantizer; None runs in this environment."""

UNTRAINED = ("MobileNetV2_224", "ResNet50_224")
"""With random weights, a thousand scores are so close that agreement says nothing: there, kilnx
gets floors of 15 dB and no agreement."""

_LONGEST = 1800.0


def interpreter(peer: str, cache: Path) -> str:
    """The Python that has the peer installed; its environment is created on first use."""
    packages = PEERS[peer]
    if packages is None:
        return sys.executable
    return python_with(packages, cache / peer.lower())


def measure(peer: str, work: Path, cache: Path, samples: int) -> dict[str, Any]:
    """The results of ``quantize_peer.py``, or why there are none (``failed``)."""
    name = peer.lower().replace(" ", "_")
    result = work / f"{name}.json"
    try:
        python = interpreter(peer, cache)
    except RuntimeError as error:
        return {"failed": f"does not install: {error}"}
    command = [python, str(ROOT / "benchmarks" / "quantize_peer.py"), "--quantizer", peer]
    command += ["--model", str(work / "model.onnx"), "--samples", str(samples)]
    command += ["--calibration", str(work / "calibration.npz"), "--test", str(work / "test.npz")]
    command += ["--untrained"] * (work.name in UNTRAINED)
    command += ["--output", str(work / f"{name}.onnx"), "--result", str(result)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST,
            cwd=work,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"took longer than {_LONGEST:.0f} s"}
    if done.returncode:
        return {"failed": _last_line(done.stderr)}
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def _last_line(text: str | None) -> str:
    lines = (text or "").strip().splitlines()
    return lines[-1][:160].replace("|", "/") if lines else "no message"


def table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    lines = ["| model | quantizer | SQNR dB | agreement | speed 1 / 32 | size | s | peak MB |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for case, peers in results.items():
        for peer, found in peers.items():
            if "failed" in found:
                lines.append(f"| {case} | {peer} | {found['failed']} | | | | | |")
                continue
            speeds = " / ".join(f"{ratio:.2f}" for ratio in found["speed"].values())
            lines.append(
                f"| {case} | {peer} | {found['sqnr_db']:.1f} | {found['agreement']:.1%} | "
                f"{speeds} | {found['size_ratio']:.2f} | {found['seconds']:.1f} | "
                f"{found['peak_mb']:.0f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "kilnx-peers")
    parser.add_argument("--only", action="append")
    parser.add_argument("--peer", action="append", choices=list(PEERS))
    parser.add_argument("--samples", type=int, default=200)
    args = parser.parse_args()
    from converter.report.report import describe_machine

    document = args.output / "quantize.json"
    results: dict[str, dict[str, dict[str, Any]]] = {}
    if document.exists():
        results = json.loads(document.read_text(encoding="utf-8"))["results"]
    for case, make in cases(args.models).items():
        if args.only and case not in args.only:
            continue
        work = args.output / case.replace(" ", "_")
        work.mkdir(parents=True, exist_ok=True)
        if not (work / "test.npz").exists():
            folder = case.split(" ", maxsplit=1)[0]
            make((args.models or Path()) / folder, work)
        for peer in args.peer or PEERS:
            found = measure(peer, work, args.cache, args.samples)
            results.setdefault(case, {})[peer] = found
            print(case, peer, found, file=sys.stderr, flush=True)
            written = {"machine": describe_machine(), "results": results}
            document.write_text(json.dumps(written, indent=2), encoding="utf-8")
        (args.output / "quantize.md").write_text(table(results), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
