"""Does kilnx export better than Keras itself? All applications, side by side.

    python benchmarks/export.py [--models ResNet50,NASNetMobile] [--json results.json]

Each export runs in a separate process. Measured are CPU seconds, from after the imports and the
building of the model to the written file, and peak resident memory, above the start and of the
whole process. kilnx's seconds include its proof (two batch sizes in ONNX Runtime and in Keras);
Keras' export proves nothing. Keras' file is then simplified by onnxslim, in its own virtual
environment. Node counts, agreement with Keras, and latency (interleaved, one thread) follow. An
export that takes more memory than ``--memory-limit`` or more than ten minutes is stopped, and the
table says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from peer_environment import python_with

APPLICATIONS = (
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "ResNet50",
    "ResNet50V2",
    "DenseNet121",
    "InceptionV3",
    "Xception",
    "NASNetMobile",
    "ConvNeXtTiny",
    "VGG16",
)
DILATED = "39 dilated Conv1D"
LARGE = "2.5 GB of Dense"
TIMEOUT_SECONDS = 600


def build(name: str) -> Any:
    """The model with statistics as after training, so that BatchNormalization has an effect."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    if name == DILATED:
        layers = [
            keras.layers.Conv1D(78, 3, dilation_rate=2 ** (i % 8), padding="causal")
            for i in range(39)
        ]
        steps = [keras.Input((None, 40), name="audio")]
        for layer in layers:
            steps += [layer, keras.layers.ReLU()]
        model = keras.Sequential([*steps, keras.layers.Dense(10)])
    elif name == LARGE:
        dense = [keras.layers.Dense(7900) for _ in range(10)]
        model = keras.Sequential([keras.Input((7900,)), *dense])
    else:
        model = getattr(keras.applications, name)(weights=None)
    random = np.random.default_rng(0)
    for variable in model.variables:
        values = {
            "gamma": lambda shape: random.uniform(0.7, 1.3, shape),
            "beta": lambda shape: random.normal(0, 0.1, shape),
            "moving_mean": lambda shape: random.normal(0, 0.1, shape),
            "moving_variance": lambda shape: random.uniform(0.7, 1.3, shape),
            "bias": lambda shape: random.normal(0, 0.05, shape),
        }.get(variable.name)
        if values is not None:
            variable.assign(values(variable.shape))
    return model


def export_once(tool: str, name: str, output: str) -> None:
    """Export, in a separate process, and print the cost as one line of JSON."""
    import resource

    from runtimes.keras_models.load import import_keras

    import_keras()
    import tf2onnx  # noqa: F401  # imports that both tools need are not measured

    model = build(name)
    # Keras refuses to export a functional model that was never called.
    import numpy as np

    model(np.zeros(sample_shape(model, 1), np.float32))
    building = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    reset_peak()
    before = resident("VmRSS")
    start = time.process_time()
    if tool == "kilnx":
        from converter import convert

        convert(model, output)
    elif tool == "kilnx without proof":
        from converter.export.export import export
        from runtimes.onnx_files.load_save import write_model

        write_model(export(model), output)
    else:
        model.export(output, format="onnx", verbose=False)
    seconds = time.process_time() - start
    peak = max(building, resident("VmHWM"))
    print(
        json.dumps(
            {
                "cpu_seconds": round(seconds, 2),
                "peak_above_mb": round(resident("VmHWM") - before),
                "peak_mb": round(peak),
                "weights_mb": round(model.count_params() * 4 / 2**20),
            }
        )
    )


def sample_shape(model: Any, batch: int) -> list[int]:
    """The input's shape with every dynamic size at 224."""
    _, *sizes = model.inputs[0].shape
    return [batch, *(224 if size is None else size for size in sizes)]


def reset_peak() -> None:
    """Reset VmHWM, the peak of resident memory (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def resident(field: str, process: int | str = "self") -> float:
    """``VmRSS`` or ``VmHWM`` of a process in MB; 0 if it has just ended."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0


def child(*arguments: str, limit_mb: float = float("inf")) -> dict[str, Any]:
    """Run this script for one export and parse its output; ``{"failed": why}`` if it fails."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, __file__, "--child", *arguments], stdout=out, stderr=errors
        )
        failed = watch(process, limit_mb)
        out.seek(0)
        errors.seek(0)
        if failed is None and process.returncode:
            failed = (errors.read().strip().splitlines() or ["killed"])[-1][:200]
        if failed is not None:
            return {"failed": failed}
        result: dict[str, Any] = json.loads(out.read().strip().splitlines()[-1])
    return result


def watch(process: subprocess.Popen[bytes], limit_mb: float) -> str | None:
    """Wait for a process, or stop it and say why if it takes too much time or memory."""
    end = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            process.wait(0.2)
            return None
        except subprocess.TimeoutExpired:
            pass
        used = resident("VmRSS", process.pid)
        if used < limit_mb and time.monotonic() < end:
            continue
        process.kill()
        process.wait()
        return (
            f"needs more than {limit_mb / 1024:.0f} GB"
            if used >= limit_mb
            else f"not finished after {TIMEOUT_SECONDS} s"
        )


def slim_environment(folder: Path) -> Path:
    """Create a virtual environment with onnxslim in ``folder``, once; returns its command."""
    return Path(python_with(["onnxslim"], folder)).with_name("onnxslim")


def compare(name: str, folder: Path, slim: Path | None, limit_mb: float) -> dict[str, Any]:
    """All measurements for one model."""
    row: dict[str, Any] = {"model": name}
    files = {"kilnx": folder / "kilnx.onnx", "keras": folder / "keras.onnx"}
    for tool, path in files.items():
        row[tool] = child(tool, name, str(path), limit_mb=limit_mb)
    row["kilnx without proof"] = child("kilnx without proof", name, str(folder / "unproven.onnx"))
    slimmed = folder / "keras-slim.onnx"
    if slim is not None and files["keras"].exists():
        subprocess.run([slim, files["keras"], slimmed], capture_output=True, check=False)
    row.update(child("judge", name, str(folder)))
    return row


def judge(name: str, folder: Path) -> dict[str, Any]:
    """Node counts, agreement with Keras and latency of the files in ``folder``."""
    import numpy as np
    import onnx_ir as ir

    from runtimes import open_runtime, profile
    from runtimes.keras_models.load import import_keras

    import_keras()
    model = build(name)
    images = np.random.default_rng(1).standard_normal(sample_shape(model, 2)).astype(np.float32)
    expected = np.asarray(model(images, training=False))
    result: dict[str, Any] = {"nodes": {}, "relative_error": {}}
    usable = []
    for tool in ("kilnx", "keras", "keras-slim"):
        path = folder / f"{tool}.onnx"
        if not path.exists():
            continue
        graph = ir.load(path).graph
        result["nodes"][tool] = sum(1 for _ in ir.traversal.RecursiveGraphIterator(graph))
        try:
            with open_runtime(path) as runtime:
                (got,) = runtime.run({runtime.inputs[0].name: images}).values()
        except Exception as error:
            result["relative_error"][tool] = str(error).splitlines()[0][:160]
            continue
        scale = float(np.abs(expected).max())
        result["relative_error"][tool] = float(np.abs(got - expected).max()) / scale
        usable.append(tool)
    peer = next((tool for tool in ("keras-slim", "keras") if tool in usable), None)
    if "kilnx" in usable and peer is not None:
        found = profile(
            folder / "kilnx.onnx",
            against=folder / f"{peer}.onnx",
            threads=1,
            data=images,
            max_time=20.0,
        ).batches[0]
        result["speed_over"] = {
            "peer": peer,
            "ratio": found.ratio,
            "low": found.ratio_low,
            "high": found.ratio_high,
        }
    return result


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| model | CPU s kilnx (without proof) / Keras | peak MB above start (whole process), "
        "kilnx / Keras | nodes kilnx / Keras → onnxslim | relative error kilnx / Keras "
        "| latency of the peer ÷ kilnx's |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        kilnx, keras, bare = row["kilnx"], row["keras"], row["kilnx without proof"]
        nodes, errors = row.get("nodes", {}), row.get("relative_error", {})
        speed = row.get("speed_over")
        cells = [
            row["model"],
            f"{kilnx.get('cpu_seconds', '–')} ({bare.get('cpu_seconds', '–')}) / "
            f"{keras.get('cpu_seconds', keras.get('failed'))}",
            f"{memory(kilnx)} / {memory(keras)}",
            f"{nodes.get('kilnx', '–')} / {nodes.get('keras', '–')} → "
            f"{nodes.get('keras-slim', '–')}",
            f"{short(errors.get('kilnx'))} / {short(errors.get('keras'))}",
            "–"
            if speed is None
            else f"{speed['ratio']:.2f} ({speed['low']:.2f}…{speed['high']:.2f})",
        ]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def memory(export: dict[str, Any]) -> str:
    if "failed" in export:
        return str(export["failed"])
    return f"{export['peak_above_mb']} ({export['peak_mb']})"


def short(error: Any) -> str:
    if isinstance(error, float):
        return f"{error:.1e}"
    return "–" if error is None else "does not run"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--models",
        default=",".join([*APPLICATIONS, DILATED]),
        help=f"names of keras.applications, {DILATED!r} or {LARGE!r}",
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-slim", action="store_true", help="leave onnxslim out")
    parser.add_argument(
        "--memory-limit", type=float, default=12.0, help="GB that an export may take"
    )
    parser.add_argument("--peers", type=Path, default=Path(tempfile.gettempdir()) / "kilnx-slim")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if arguments.child:
        tool, name, place = arguments.child
        if tool == "judge":
            print(json.dumps(judge(name, Path(place))))
        else:
            export_once(tool, name, place)
        return
    from converter.report.report import describe_machine

    slim = None if arguments.no_slim else slim_environment(arguments.peers)
    rows = []
    for name in arguments.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(compare(name, Path(folder), slim, arguments.memory_limit * 1024))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(table(rows))
    if arguments.json:
        document = {"machine": describe_machine(), "rows": rows}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
