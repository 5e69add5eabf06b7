"""One quantizer on one model, in a separate process; started by ``benchmarks/quantize.py``.

Runs in the environment of the quantizer that it measures, so it does not import kilnx unless kilnx
is that quantizer. Writes JSON: SQNR and agreement on the odd rows of the test data (kilnx judges on
the even ones), speed against fp32 (interleaved, one thread), size, and the seconds and peak memory
of quantization.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

_ROUNDS, _SECONDS = 7, 2.0

Runner = Callable[[dict[str, Any]], list[Any]]


def session(path: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def inputs_of(path: str, data: str) -> dict[str, Any]:
    wanted = session(path).get_inputs()
    arrays = {k: v for k, v in np.load(data).items() if not k.startswith("labels")}
    if len(wanted) == 1 and len(arrays) == 1:
        arrays = {wanted[0].name: next(iter(arrays.values()))}
    kinds = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64}
    return {spec.name: arrays[spec.name].astype(kinds[spec.type]) for spec in wanted}


def reader(feeds: dict[str, Any], samples: int) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rewind()

        def rewind(self) -> None:
            self.rows = iter(range(samples))

        def get_next(self) -> dict[str, Any] | None:
            row = next(self.rows, None)
            return None if row is None else {n: a[row : row + 1] for n, a in feeds.items()}

    return Reader()


def by_ort(method: str, fast: bool) -> Callable[..., Runner | None]:
    def run(args: argparse.Namespace, feeds: dict[str, Any], samples: int) -> None:
        from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        prepared = args.output + ".prepared.onnx"
        try:
            quant_pre_process(args.model, prepared)
        except Exception:  # its symbolic shape inference fails on some graphs
            quant_pre_process(args.model, prepared, skip_symbolic_shape=True)
        options: dict[str, Any] = {}
        if fast:
            options = {"per_channel": True, "activation_type": QuantType.QUInt8}
            options |= {"weight_type": QuantType.QInt8}
        quantize_static(
            prepared,
            args.output,
            reader(feeds, samples),
            calibrate_method=getattr(CalibrationMethod, method),
            **options,
        )

    return run


def by_ort_dynamic(args: argparse.Namespace, feeds: dict[str, Any], samples: int) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(args.model, args.output, weight_type=QuantType.QInt8)


def by_nncf(args: argparse.Namespace, feeds: dict[str, Any], samples: int) -> None:
    import nncf
    import onnx

    rows = nncf.Dataset(range(samples), lambda row: {n: a[row : row + 1] for n, a in feeds.items()})
    quantized = nncf.quantize(onnx.load(args.model), rows, subset_size=samples)
    onnx.save(quantized, args.output)


def by_openvino(args: argparse.Namespace, feeds: dict[str, Any], samples: int) -> Runner:
    import nncf
    import openvino

    core = openvino.Core()
    rows = nncf.Dataset(range(samples), lambda row: {n: a[row : row + 1] for n, a in feeds.items()})
    quantized = nncf.quantize(core.read_model(args.model), rows, subset_size=samples)
    path = Path(args.output).with_suffix(".xml")
    openvino.save_model(quantized, path)
    Path(args.output).write_bytes(path.with_suffix(".bin").read_bytes())
    compiled = core.compile_model(quantized, "CPU", {"INFERENCE_NUM_THREADS": 1})
    return lambda feed: list(compiled(feed).values())


def by_quark(args: argparse.Namespace, feeds: dict[str, Any], samples: int) -> None:
    from quark.onnx import ModelQuantizer
    from quark.onnx.quantization.config import Config, get_default_config

    config = Config(global_quant_config=get_default_config("U8S8_AAWS"))
    ModelQuantizer(config).quantize_model(args.model, args.output, reader(feeds, samples))


def by_kilnx(effort: str) -> Callable[..., Runner | None]:
    def run(args: argparse.Namespace, feeds: dict[str, Any], samples: int) -> None:
        from quantizers import quantize

        arrays = {name: array[:samples] for name, array in feeds.items()}
        judged = {name: array[:400:2] for name, array in inputs_of(args.model, args.test).items()}
        report = quantize(
            args.model,
            args.output,
            arrays,
            evaluate_on=judged,
            effort=effort,
            batch=(1, 32),
            force=True,
            **({"min_agreement": 0.0, "min_sqnr": 15.0} if args.untrained else {}),
        )
        args.note = report.reason

    return run


def by_litert(args: argparse.Namespace, feeds: dict[str, Any], samples: int) -> Runner:
    """TensorFlow's converter on the Keras model, run by its interpreter with XNNPACK."""
    import keras
    import tensorflow as tf

    source = Path(args.model).with_suffix(".keras")
    if not source.exists():
        raise SystemExit("this case has no Keras model")
    keras.config.enable_unsafe_deserialization()
    model = keras.models.load_model(source, compile=False)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [array[row : row + 1] for array in feeds.values()] for row in range(samples)
    )
    Path(args.output).write_bytes(converter.convert())
    interpreters: dict[int, Any] = {}

    def run(feed: dict[str, Any]) -> list[Any]:
        size = len(next(iter(feed.values())))
        if size not in interpreters:
            made = tf.lite.Interpreter(model_path=args.output, num_threads=1)
            for place in made.get_input_details():
                made.resize_tensor_input(place["index"], [size, *place["shape"][1:]])
            made.allocate_tensors()
            interpreters[size] = made
        interpreter = interpreters[size]
        arrays = list(feed.values())
        for place, array in zip(interpreter.get_input_details(), arrays, strict=True):
            interpreter.set_tensor(place["index"], array.astype(place["dtype"]))
        interpreter.invoke()
        places = sorted(interpreter.get_output_details(), key=lambda place: str(place["name"]))
        return [interpreter.get_tensor(place["index"]) for place in places]

    return run


QUANTIZERS: dict[str, Callable[..., Runner | None]] = {
    "kilnx": by_kilnx("default"),
    "kilnx high": by_kilnx("high"),
    "ORT default": by_ort("MinMax", fast=False),
    "ORT U8S8 MinMax": by_ort("MinMax", fast=True),
    "ORT U8S8 Percentile": by_ort("Percentile", fast=True),
    "ORT dynamic": by_ort_dynamic,
    "NNCF": by_nncf,
    "OpenVINO": by_openvino,
    "Quark": by_quark,
    "LiteRT": by_litert,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("quantizer", "model", "calibration", "test", "output", "result"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--untrained", action="store_true")
    args = parser.parse_args()
    args.note = ""
    feeds = inputs_of(args.model, args.calibration)
    samples = min(args.samples, len(next(iter(feeds.values()))))
    start = time.perf_counter()
    runner = QUANTIZERS[args.quantizer](args, feeds, samples)
    found: dict[str, Any] = {
        "seconds": time.perf_counter() - start,
        "peak_mb": peak_mb(),
        "note": args.note,
        "size_ratio": Path(args.output).stat().st_size / Path(args.model).stat().st_size,
    }
    reference = session(args.model)
    if runner is None:
        quantized = session(args.output)
        runner = lambda feed: quantized.run(None, feed)  # noqa: E731
    test = inputs_of(args.model, args.test)
    found |= accuracy(reference, runner, {name: array[1::2] for name, array in test.items()})
    found["speed"] = {str(size): speed(reference, runner, test, size) for size in (1, 32)}
    Path(args.result).write_text(json.dumps(found), encoding="utf-8")


def peak_mb() -> float:
    """Largest resident set size of this process; getrusage would include the parent process."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def accuracy(reference: Any, runner: Runner, test: dict[str, Any]) -> dict[str, float]:
    """SQNR of the worst output, and agreement of the first output's argmax."""
    signal: list[float] = []
    noise: list[float] = []
    same: list[Any] = []
    for start in range(0, len(next(iter(test.values()))), 32):
        feed = {name: array[start : start + 32] for name, array in test.items()}
        pairs = list(zip(reference.run(None, feed), runner(feed), strict=True))
        signal = signal or [0.0] * len(pairs)
        noise = noise or [0.0] * len(pairs)
        for index, (one, other) in enumerate(pairs):
            signal[index] += float(np.square(one, dtype=np.float64).sum())
            noise[index] += float(np.square(one.astype(np.float64) - other).sum())
        same.append(pairs[0][0].argmax(-1) == pairs[0][1].argmax(-1))
    pairs_of_power = zip(signal, noise, strict=True)
    worst = min(10 * np.log10(s / n) if n else 200.0 for s, n in pairs_of_power)
    return {"sqnr_db": float(worst), "agreement": float(np.concatenate(same).mean())}


def speed(reference: Any, runner: Runner, test: dict[str, Any], size: int) -> float:
    """Median time of fp32 divided by that of the quantized model, interleaved."""
    feed = {name: array[:size] for name, array in test.items()}
    times: list[list[float]] = [[], []]
    calls = [lambda: reference.run(None, feed), lambda: runner(feed)]
    for call in calls:
        call()
    begin, rounds = time.perf_counter(), 0
    while rounds < _ROUNDS or time.perf_counter() - begin < _SECONDS:
        for index in (0, 1) if rounds % 2 else (1, 0):
            start = time.perf_counter()
            calls[index]()
            times[index].append(time.perf_counter() - start)
        rounds += 1
    return statistics.median(times[0]) / statistics.median(times[1])


if __name__ == "__main__":
    main()
