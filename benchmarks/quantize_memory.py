"""How do memory and time of calibration grow with samples? kilnx and ONNX Runtime's calibrators.

    python benchmarks/quantize_memory.py --model MODEL.onnx --samples 100,2000 [--quantizer NAME]...

Each runs in a separate process on random smooth images of the model's input shape, from an
``.npz`` file. Seconds are processor time, which other work on the machine hardly changes, for
calibration and for the whole static quantization (kilnx without timing operators, which does not
depend on the samples; ONNX Runtime does both in one call). Peak memory is the largest resident set
size.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from quantize_peer import by_ort, inputs_of, peak_mb

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

NAMES = ("kilnx", "ORT MinMax", "ORT Percentile")


def write_images(path: Path, shape: list[int], samples: int) -> None:
    """Write smooth images with some noise as one array, like ``numpy.savez``."""
    rng = np.random.default_rng(0)
    images = np.empty((samples, *shape), dtype=np.float32)
    for row in images:
        coarse = rng.normal(size=(-(-shape[0] // 8), -(-shape[1] // 8), shape[2]))
        smooth = coarse.repeat(8, axis=0).repeat(8, axis=1)[: shape[0], : shape[1]]
        row[:] = smooth + 0.2 * rng.standard_normal(shape)
    np.savez(path, images=images)


def one(
    name: str, model: str, data: str, samples: int, output: str, *, calibration_only: bool
) -> dict[str, float]:
    """Quantize ``model`` in this process."""
    start = time.process_time()
    calibrated = None
    if name == "kilnx":
        import onnx_ir as ir

        from converter.passes import optimize
        from quantizers import QuantizeOptions, collect_statistics, quantize_model
        from runtimes import Dataset
        from runtimes.onnx_files.load_save import model_inputs

        source = optimize(ir.load(model))
        bound = Dataset.open(data, inputs=model_inputs(source))
        options = QuantizeOptions(threads=1)
        begin = time.process_time()
        statistics = collect_statistics(source, bound, options=options)
        calibrated, peak = time.process_time() - begin, peak_mb()
        if calibration_only:
            return {"calibration": calibrated, "seconds": np.nan, "peak_mb": peak}
        quantized, _ = quantize_model(source, bound, options=options, statistics=statistics)
        ir.save(quantized, output)
    else:
        args = argparse.Namespace(model=model, output=output)
        by_ort(name.split()[1], fast=True)(args, inputs_of(model, data), samples)
    seconds = time.process_time() - start
    return {"calibration": calibrated or seconds, "seconds": seconds, "peak_mb": peak_mb()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--samples", default="100,2000")
    parser.add_argument("--quantizer", action="append", choices=NAMES)
    parser.add_argument(
        "--calibration-only", action="store_true", help="kilnx collects statistics and stops"
    )
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        name, data = args.child
        output = str(Path(data).with_suffix(".onnx"))
        found = one(
            name,
            args.model,
            data,
            int(args.samples),
            output,
            calibration_only=args.calibration_only,
        )
        print(json.dumps(found))
        return
    import onnxruntime as ort

    session = ort.InferenceSession(args.model, providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape[1:]
    print("| quantizer | samples | calibration s | whole s | peak MB |\n|---|---|---|---|---|")
    for samples in map(int, args.samples.split(",")):
        with tempfile.TemporaryDirectory(prefix="kilnx-") as folder:
            data = Path(folder) / "images.npz"
            write_images(data, shape, samples)
            for name in args.quantizer or NAMES:
                command = [sys.executable, __file__, "--model", args.model]
                command += ["--samples", str(samples), "--child", name, str(data)]
                command += ["--calibration-only"] * args.calibration_only
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    print(f"| {name} | {samples} | {done.stderr.strip().splitlines()[-1]} | | |")
                    continue
                found = json.loads(done.stdout.strip().splitlines()[-1])
                cells = f"{found['calibration']:.1f} | {found['seconds']:.1f}"
                cells += f" | {found['peak_mb']:.0f}"
                print(f"| {name} | {samples} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
