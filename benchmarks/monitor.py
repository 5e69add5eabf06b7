"""The monitor of served models: false alarms, delay until an alarm, way back, and what it costs.

    python benchmarks/monitor.py [FOLDER...] [--streams 200] [--length 20000] [--requests 1000]
                                 [--pace 200] [--noise 0.1] [--only false|delay|cost] [--json FILE]

A ``FOLDER`` holds ``model.onnx`` and ``fp32.onnx`` of the digits of ``kilnx demo``. Without one, a
network is trained and quantized, and a second one that is as good on clean images and fragile under
noise; the float network is the original of both.

*False alarms*: the samples that judge in the demo are a population. Each stream draws a reference
from it, with edges of its own, and then requests; so nothing drifts, and the reference is as finite
as it says. *Delay*: noise is added to the images from one request on, and taken away again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from runtimes import Dataset, open_runtime  # noqa: E402
from runtimes.monitor import ModelMonitor, Policy, Reference, make_reference, open_probe  # noqa: E402
from runtimes.monitor.observer import watch  # noqa: E402
from runtimes.monitor.seen import Seen  # noqa: E402

CLEAN = 50  # observations after which an alarm is over here
BLOCK = 50  # observations that a test takes at once in the simulation
REFERENCE = 400  # samples of each stream's reference
FRAGILITY = 20.0  # weights on what clean images do not excite, in means of those that they do


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--length", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--pace", type=float, default=200, help="requests a second")
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--only", choices=["false", "delay", "cost"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as work:
        for folder in options.folders or list(made(Path(work))):
            result = found[str(folder)] = {}
            print(folder, flush=True)
            for name, measure in (("false", false_alarms), ("delay", delay), ("cost", cost)):
                if options.only in (None, name):
                    result[name] = measure(folder, options)
                    print(f"  {name}: {json.dumps(result[name])}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def made(work: Path) -> Iterator[Path]:
    """A fragile network and one that is not, with the float network beside each."""
    from digits_network import trained_network

    from converter import convert
    from converter.demo import load_digits
    from quantizers import quantize
    from runtimes.keras_models.load import import_keras

    train, test = load_digits(0)
    keras = import_keras()
    keras.utils.set_random_seed(0)
    network = trained_network(keras, train["image"], train["labels"])
    for name in ("int8", "fragile"):
        folder = work / name
        folder.mkdir()
        convert(network, folder / "fp32.onnx")
    fragile(network)
    convert(network, work / "fragile" / "source.onnx")
    for name, source in (("int8", "fp32.onnx"), ("fragile", "source.onnx")):
        # By size: INT8 whether or not this machine runs it faster.
        options: dict[str, Any] = {"max_drop": 0.1, "stress": "none", "prefer": "size"}
        quantize(
            work / name / source, work / name / "model.onnx", train, evaluate_on=test, **options
        )
        yield work / name


def fragile(network: Any) -> None:
    """Change the weights so that nothing changes on clean images, and noise is amplified.

    Every pixel of these images is doubled, and the first convolution has stride 2: the first two
    columns that it reads are equal, and what is added to the one weight and taken from the other
    falls away. A fit to clean data may do the same, because nothing there tells it not to.
    """
    layer = next(one for one in network.layers if type(one).__name__ == "Conv2D")
    kernel = layer.get_weights()[0]
    size = FRAGILITY * np.abs(kernel).mean()
    signs = np.random.default_rng(0).choice([-1.0, 1.0], kernel.shape[-1])
    kernel[0, 0, 0] += size * signs
    kernel[0, 1, 0] -= size * signs
    layer.set_weights([kernel, *layer.get_weights()[1:]])


def population() -> dict[str, Any]:
    from converter.demo import load_digits

    return load_digits(0)[1]


def false_alarms(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """How many streams without drift alarm, by group, and how near they came."""
    data, policy = population(), Policy()
    seen = Seen(*_measured(folder, data))
    count = len(data["labels"])
    alarms: dict[str, int] = {}
    peak = 0.0
    any_alarm = 0
    for stream in range(options.streams):
        rng = np.random.default_rng([1, stream])
        chosen = rng.integers(0, count, REFERENCE)
        reference = _reference(folder, {name: one[chosen] for name, one in data.items()})
        alarmed = False
        for group, watched in watch(reference, policy).items():
            shares = watched.binning.shares(seen)
            assert shares is not None
            order = rng.integers(0, count, options.length)
            for start in range(0, options.length, BLOCK):
                watched.test.update(shares[order[start : start + BLOCK]])
            found = watched.test.evidence()
            peak = max(peak, found.peak / found.threshold)
            if found.first_alarm is not None:
                alarms[group] = alarms.get(group, 0) + 1
                alarmed = True
        any_alarm += alarmed
    return {
        "streams": options.streams,
        "length": options.length,
        "alpha": policy.alpha,
        "with_alarm": any_alarm,
        "by_group": alarms,
        "nearest_to_threshold": peak,
    }


def _reference(folder: Path, data: dict[str, Any]) -> Reference:
    return make_reference(folder / "model.onnx", folder / "fp32.onnx", data)


def _measured(folder: Path, data: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """Inputs, answers, saturation and fp32's answers of the whole population."""
    parts: list[tuple[Any, Any, Any, Any]] = []
    with open_probe(folder / "model.onnx") as probe, open_runtime(folder / "fp32.onnx") as fp32:
        for batch in Dataset.open(data, inputs=probe.inputs).batches(32):
            probed = probe.run(batch.feed)
            parts.append((batch.feed, probed.outputs, probed.ends, fp32.run(batch.feed)))

    def joined(place: int) -> dict[str, Any]:
        return {
            name: np.concatenate([part[place][name] for part in parts]) for name in parts[0][place]
        }

    return joined(0), joined(1), np.concatenate([part[2] for part in parts]), joined(3)


def delay(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Requests from the first noisy one to each alarm and to the rollback, and the accuracies."""
    data = population()
    half = len(data["labels"]) // 2
    reference = _reference(folder, {name: one[:half] for name, one in data.items()})
    images, labels = data["image"][half:], data["labels"][half:]
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for name, before in (("at the start", 50), ("later", options.requests)):
        with Service(folder, reference, Policy(clean=CLEAN), options.pace) as service:
            phases = found[name] = {}
            for phase, noise, count in (
                ("clean", 0.0, before),
                ("noisy", options.noise, options.requests),
                ("clean again", 0.0, 2 * options.requests),
            ):
                phases[phase] = service.serve(images, labels, count, noise, rng)
            phases["cost"] = service.monitor.status()["cost"]
    return found


class Service:
    """A model that is served as a server would serve it, in this process."""

    def __init__(self, folder: Path, reference: Reference, policy: Policy, pace: float) -> None:
        self.models = {
            True: open_runtime(folder / "fp32.onnx"),
            False: open_runtime(folder / "model.onnx"),
        }
        shadow = open_runtime(folder / "fp32.onnx")
        self.monitor = ModelMonitor(
            reference, policy, run_fp32=shadow.run, probe=open_probe(folder / "model.onnx")
        )
        self.name = self.models[True].inputs[0].name
        self.pace = pace

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *exception: object) -> None:
        self.monitor.close()

    def serve(
        self, images: Any, labels: Any, requests: int, noise: float, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Serve one image a request; accuracy before and after the first change of the model."""
        right: dict[bool, list[bool]] = {True: [], False: []}
        events = len(self.monitor.events)
        seen: dict[str, int] = {}
        for request in range(requests):
            place = int(rng.integers(len(images)))
            image = images[place : place + 1]
            if noise:
                image = (image + noise * rng.standard_normal(image.shape)).astype(np.float32)
            by_fp32 = self.monitor.uses_fp32
            begun = time.thread_time()
            outputs = self.models[by_fp32].run({self.name: image})
            seconds = time.thread_time() - begun
            right[by_fp32].append(next(iter(outputs.values())).argmax() == labels[place])
            if self.monitor.wants():
                self.monitor.record({self.name: image}, outputs, seconds, by_fp32=by_fp32)
            time.sleep(1 / self.pace)
            happened = self.monitor.events[events:]
            events += len(happened)
            for one in happened:
                name = one["event"] if one["group"] is None else f"{one['event']} {one['group']}"
                seen.setdefault(name, request + 1)
        return {
            "after_requests": seen,
            "accuracy_compressed": _mean(right[False]),
            "accuracy_fp32": _mean(right[True]),
            "by_fp32": len(right[True]),
        }


def _mean(values: list[bool]) -> float | None:
    return float(np.mean(values)) if values else None


def cost(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Microseconds of CPU: of each group for an observation, and of the calls of a request."""
    data = population()
    reference = _reference(folder, data)
    seen = Seen(*_measured(folder, data))
    rows = len(data["labels"]) // 32 * 32
    found: dict[str, Any] = {}
    for size in (1, 32):
        for group, watched in watch(reference, Policy()).items():
            begun = time.process_time()
            for start in range(0, rows, size):
                part = _rows(seen, slice(start, start + size))
                shares = watched.measure(part, np.arange(size))
                assert shares is not None
                watched.test.update(shares)
            found[f"{group}, {size} at once"] = 1e6 * (time.process_time() - begun) / rows
    quiet = Policy(actions=dict.fromkeys(("inputs", "outputs", "saturation", "shadow"), "ignore"))
    with ModelMonitor(reference, quiet) as monitor:
        begun = time.process_time()
        for _ in range(100_000):
            monitor.wants()
        found["wants"] = 10 * (time.process_time() - begun)
    return {name: round(value, 2) for name, value in found.items()}


def _rows(seen: Seen, rows: slice) -> Seen:
    def cut(arrays: Any) -> Any:
        return {name: one[rows] for name, one in arrays.items()}

    ends = None if seen.ends is None else seen.ends[rows]
    return Seen(cut(seen.inputs), cut(seen.outputs), ends, cut(seen.fp32))


if __name__ == "__main__":
    sys.exit(main())
