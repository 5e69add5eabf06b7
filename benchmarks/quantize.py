"""Which quantizer keeps most, runs fastest and needs least? kilnx beside its peers.

    python benchmarks/quantize.py --models FOLDER --output FOLDER [--only CASE]... [--peer NAME]...

FOLDER holds a folder a model: a Keras file, ``calibration.npz``, ``test.npz``. Besides them:
MobileNetV2 and ResNet50 at 224 with random weights and smooth random images, a transformer
encoder, and a MobileNetV2 whose channel ranges were made unequal without changing the model
(``mbv2`` of FOLDER). Every quantizer runs in a process of its own, peers in virtual environments
that are made under ``--cache``. Results go to ``quantize.json`` and ``quantize.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]

PEERS = {
    "kilnx": None,
    "ORT default": None,
    "ORT U8S8 MinMax": None,
    "ORT U8S8 Percentile": None,
    "ORT dynamic": None,
    "kilnx high": None,
    "NNCF": ["nncf", "onnx", "onnxruntime"],
    "OpenVINO": ["nncf", "openvino", "onnxruntime"],
    "Quark": ["amd-quark", "onnx", "onnxruntime"],
}
"""What to install for each quantizer; None runs in this environment."""

DEFAULT_PEERS = ("kilnx", "ORT default", "ORT U8S8 MinMax", "ORT U8S8 Percentile", "ORT dynamic")


def from_folder(folder: Path, work: Path) -> None:
    """A model of the folder given, with its own data."""
    from converter import convert

    source = next(path for path in folder.iterdir() if path.suffix in (".keras", ".hdf5", ".h5"))
    convert(source, work / "model.onnx", force=True)
    for name in ("calibration", "test"):
        (work / f"{name}.npz").write_bytes((folder / f"{name}.npz").read_bytes())


def unequal(folder: Path, work: Path) -> None:
    """``mbv2`` with channels rescaled by 0.1 … 10 wherever that changes nothing."""
    import onnx_ir as ir

    from quantizers.channel_groups import channel_groups
    from quantizers.equalize import rescale
    from quantizers.prepare import prepare

    from_folder(folder, work)
    model = prepare(ir.load(work / "model.onnx"))
    rng = np.random.default_rng(0)
    for group in channel_groups(model.graph, lambda node, reason: None):
        rescale(group, 10 ** rng.uniform(-1, 1, group.channels), model.graph)
    ir.save(model, work / "model.onnx")


def application(name: str) -> Callable[[Path, Path], None]:
    def make(folder: Path, work: Path) -> None:
        import keras

        from converter import convert

        keras.utils.set_random_seed(0)
        model = getattr(keras.applications, name)(weights=None)
        convert(model, work / "model.onnx", force=True)
        rng = np.random.default_rng(0)
        for kind, count in (("calibration", 64), ("test", 64)):
            coarse = rng.normal(size=(count, 14, 14, 3)).repeat(16, axis=1).repeat(16, axis=2)
            images = coarse + 0.2 * rng.normal(size=(count, 224, 224, 3))
            np.savez(work / f"{kind}.npz", images=images.astype(np.float32))

    return make


def transformer(folder: Path, work: Path) -> None:
    """Four encoder blocks of width 128, exact GELU, random weights and tokens."""
    import keras
    from keras import layers

    from converter import convert

    keras.utils.set_random_seed(0)
    tokens = keras.Input((32,), dtype="int32", name="tokens")
    x = layers.Embedding(500, 128)(tokens)
    for _ in range(4):
        attended = layers.MultiHeadAttention(4, 32)(x, x)
        x = layers.LayerNormalization()(x + attended)
        wide = layers.Dense(512, activation="gelu")(x)
        x = layers.LayerNormalization()(x + layers.Dense(128)(wide))
    scores = layers.Dense(10)(layers.GlobalAveragePooling1D()(x))
    convert(keras.Model(tokens, scores), work / "model.onnx", force=True)
    rng = np.random.default_rng(0)
    for kind in ("calibration", "test"):
        array = rng.integers(0, 500, (200, 32)).astype(np.int32)
        np.savez(work / f"{kind}.npz", tokens=array)


def cases(models: Path | None) -> dict[str, Callable[[Path, Path], None]]:
    found: dict[str, Callable[[Path, Path], None]] = {}
    for name in ("resnet_s", "mbv2", "fer", "mtcnn_onet", "mtcnn_rnet", "lstm"):
        if models is not None and (models / name).is_dir():
            found[name] = from_folder
    if "mbv2" in found:
        found["mbv2 unequal"] = unequal
    found["transformer"] = transformer
    found["MobileNetV2 224"] = application("MobileNetV2")
    found["ResNet50 224"] = application("ResNet50")
    return found


def interpreter(peer: str, cache: Path) -> str:
    """The Python that has the peer installed; its environment is made on first use."""
    packages = PEERS[peer]
    if packages is None:
        return sys.executable
    folder = cache / peer.lower()
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    return str(python)


def measure(peer: str, work: Path, cache: Path, samples: int) -> dict[str, Any]:
    name = peer.lower().replace(" ", "_")
    result = work / f"{name}.json"
    try:
        python = interpreter(peer, cache)
    except subprocess.CalledProcessError as error:
        return {"failed": f"installation failed: {error}"}
    command = [python, str(ROOT / "benchmarks" / "quantize_peer.py"), "--quantizer", peer]
    command += ["--model", str(work / "model.onnx"), "--samples", str(samples)]
    command += ["--calibration", str(work / "calibration.npz"), "--test", str(work / "test.npz")]
    command += ["--output", str(work / f"{name}.onnx"), "--result", str(result)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:200] if done.stderr else "?"}
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


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
    from converter.report import describe_machine

    results: dict[str, dict[str, dict[str, Any]]] = {}
    for case, make in cases(args.models).items():
        if args.only and case not in args.only:
            continue
        work = args.output / case.replace(" ", "_")
        work.mkdir(parents=True, exist_ok=True)
        if not (work / "test.npz").exists():
            folder = case.split(" ", maxsplit=1)[0]
            make((args.models or Path()) / folder, work)
        results[case] = {}
        for peer in args.peer or DEFAULT_PEERS:
            results[case][peer] = measure(peer, work, args.cache, args.samples)
            print(case, peer, results[case][peer], file=sys.stderr, flush=True)
        document = {"machine": describe_machine(), "results": results}
        (args.output / "quantize.json").write_text(json.dumps(document, indent=2), encoding="utf-8")
        (args.output / "quantize.md").write_text(table(results), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
