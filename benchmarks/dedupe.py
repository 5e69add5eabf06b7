"""How much does storing and loading equal weights once save, and is all damage detected?

    python benchmarks/dedupe.py [--only planted|siblings|family|tied|damage|large]
                                [--json dedupe.json]

- planted: 3 exact duplicates and a transposed one: merged, bit-equal, no slower.
- siblings: models with transposed and reshaped twins inside, in other orders, in one store.
- family: 8 heads on one MobileNetV2: bytes of the store; PSS of 8 sessions and of 8 processes.
- tied: an embedding that is also the last product, through export, pruning and INT8.
- damage: 500 byte flips, truncations and malicious locations: each detected.
- large: a 2.5 GB model with external data: peak memory, time against copying it twice.

Every memory figure comes from a separate process. Exits with 1 if a bound is not met.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import onnx_ir as ir  # noqa: E402
from dedupe_models import CLASSES, HEADS, chain, mobile_nets, run  # noqa: E402
from dedupe_process import child, together  # noqa: E402

PACKAGES = ("keras", "tensorflow", "onnx", "onnx-ir", "onnxruntime", "numpy")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=sorted(CASES))
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    results: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }
    failed = False
    for name in options.only or CASES:
        with tempfile.TemporaryDirectory(prefix=f"kilnx-{name}-") as folder:
            figures, bounds = CASES[name](Path(folder))
        results[name] = {**figures, "bounds": bounds}
        failed = failed or not all(bounds.values())
        print(json.dumps({name: results[name]}, indent=1), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return int(failed)


Figures = tuple[dict[str, Any], dict[str, bool]]


def planted(folder: Path) -> Figures:
    from converter.compression.dedupe import dedupe
    from runtimes.profiling.profile import profile

    rng = np.random.default_rng(0)
    wide = rng.normal(size=(128, 128), scale=0.1).astype(np.float32)
    narrow = rng.normal(size=(128, 96), scale=0.1).astype(np.float32)
    weights = [wide, wide.copy(), narrow, narrow.T.copy(), wide.copy(), narrow.copy()]
    model = chain(weights)
    source, output = folder / "planted.onnx", folder / "deduped.onnx"
    ir.save(model, source)
    report = dedupe(source, output)
    feed = {"x": rng.normal(size=(32, 128)).astype(np.float32)}
    found = profile(output, against=source, data=feed, batch=(1,), threads=1).batches[0]
    figures = {
        "bytes": [source.stat().st_size, output.stat().st_size],
        "merged": [str(merge) for merge in report.merged],
        "speed": [found.ratio, found.ratio_low, found.ratio_high],
    }
    copies = [m.how for m in report.merged for _ in m.replaced]
    bounds = {
        "every duplicate merged": sorted(copies) == ["Transpose", "equal", "equal", "equal"],
        "bit-equal": bool((run(source, feed) == run(output, feed)).all()),
        "no slower": found.ratio_high >= 0.98,
    }
    return figures, bounds


def siblings(folder: Path) -> Figures:
    from converter.compression.dedupe import dedupe
    from runtimes.weight_store.store import create_store, verify_store

    rng = np.random.default_rng(0)
    wide = rng.normal(size=(256, 192), scale=0.1).astype(np.float32)
    long = rng.normal(size=(256, 128), scale=0.1).astype(np.float32)
    square = rng.normal(size=(256, 256), scale=0.1).astype(np.float32)
    reshaped = long.reshape(128, 256)
    orders = (
        [wide, wide.T.copy(), square, square.T.copy(), long, reshaped.copy()],
        [square.T.copy(), wide, wide.T.copy(), square, long, reshaped.copy()],
        [long, reshaped.copy(), square, wide, wide.T.copy(), square.T.copy()],
    )
    orders = (*orders, [square, wide, wide.T.copy(), long, reshaped.copy(), square.T.copy()])
    paths = []
    for number, weights in enumerate(orders):
        head = np.random.default_rng(9 + number).normal(size=(256, 16)).astype(np.float32)
        paths.append(folder / f"sibling{number}.onnx")
        ir.save(chain([*weights, head]), paths[-1])
    plain = create_store(folder / "plain", paths)
    dedupe(paths, folder / "merged")
    size = sum(one.stat().st_size for one in (folder / "merged").rglob("*") if one.is_file())
    least = wide.nbytes + square.nbytes + long.nbytes + len(paths) * 256 * 16 * 4
    figures = {
        "all models": sum(path.stat().st_size for path in paths),
        "store, twins apart": plain.store_bytes,
        "store": size,
        "store / each weight once": size / least,
    }
    bounds = {
        "store at most 1.02 of each weight once": size <= 1.02 * least,
        "store verifies": verify_store(folder / "merged").passed,
    }
    return figures, bounds


def family(folder: Path) -> Figures:
    from runtimes.weight_store.store import create_store, verify_store

    paths = mobile_nets(folder)
    report = create_store(folder / "store", paths)
    head = (1280 * CLASSES + CLASSES) * 4
    one = paths[0].stat().st_size
    feed = {"image": np.random.default_rng(5).normal(size=(1, 224, 224, 3)).astype(np.float32)}
    np.savez(folder / "feed.npz", **feed)
    stored = [folder / "store" / path.name for path in paths]
    child("sessions", folder, "shared", HEADS, *stored)  # fills the pool, like a first start
    memory = {
        f"{kind} {count}": child("sessions", folder, kind, count, *stored)
        for kind in ("plain", "shared", "prepacked")
        for count in (1, HEADS)
    }
    processes = {count: together(folder, stored[:count]) for count in (1, HEADS)}
    figures = {
        "one model": one,
        "all models": sum(path.stat().st_size for path in paths),
        "store": report.store_bytes,
        "store / (one + other heads)": report.store_bytes / (one + (HEADS - 1) * head),
        "sessions, MB": {
            key: {k: v if k == "equal" else v / 1e6 for k, v in m.items()}
            for key, m in memory.items()
        },
        **{
            f"sessions, PSS of {HEADS} {kind} / 1 {than}": memory[f"{kind} {HEADS}"]["total"]
            / memory[f"{than} 1"]["total"]
            for kind, than in (
                ("shared", "shared"),
                ("shared", "plain"),
                ("prepacked", "prepacked"),
                ("plain", "plain"),
            )
        },
        "processes, MB": processes,
        "processes, weights of 8 / 1": processes[HEADS]["weights"] / processes[1]["weights"],
        "processes, PSS each of 8 / 1": processes[HEADS]["total"] / HEADS / processes[1]["total"],
    }
    bounds = {
        "store at most 1.02 of one model plus heads": report.store_bytes
        <= 1.02 * (one - head) + HEADS * head,
        "store verifies": verify_store(folder / "store").passed,
        "8 sessions at most 1.4 of one": memory[f"shared {HEADS}"]["total"]
        <= 1.4 * memory["shared 1"]["total"],
        "8 prepacked sessions at most 1.4 of one": memory[f"prepacked {HEADS}"]["total"]
        <= 1.4 * memory["prepacked 1"]["total"],
        "8 processes' weights at most 1.4 of one": figures["processes, weights of 8 / 1"] <= 1.4,
        "prepacked: bit-equal": memory[f"prepacked {HEADS}"]["equal"],
    }
    return figures, bounds


def tied(folder: Path) -> Figures:
    import keras
    from keras import layers

    from converter import compress, convert
    from runtimes.onnx_files.load_save import load_model

    words, width, length = 4000, 64, 16
    keras.utils.set_random_seed(0)
    table = layers.ReversibleEmbedding(words, width, name="words", tie_weights=True)
    ids = keras.Input((length,), dtype="int32", name="ids")
    x = table(ids)
    for block in range(2):
        y = layers.MultiHeadAttention(4, 16, name=f"attention_{block}")(x, x)
        x = layers.LayerNormalization()(x + y)
        y = layers.Dense(width, name=f"out_{block}")(
            layers.Dense(4 * width, activation="relu", name=f"in_{block}")(x)
        )
        x = layers.LayerNormalization()(x + y)
    model = keras.Model(ids, table(x, reverse=True), name="tied")
    samples = np.random.default_rng(1).integers(0, words, size=(256, length)).astype(np.int32)
    convert(model, folder / "fp32.onnx")
    report = compress(
        model,
        folder / "out",
        {"ids": samples},
        min_agreement=0.8,
        min_sqnr=15.0,
    )
    files = {"exported": folder / "fp32.onnx", "compressed": folder / "out" / "model.onnx"}
    copies = {
        name: sum(
            value.const_value.nbytes
            for value in load_model(path).graph.initializers.values()
            if value.const_value is not None and value.const_value.size == words * width
        )
        for name, path in files.items()
    }
    steps = {step.name: (step.kept, step.reason) for step in report.steps}
    figures = {"table, bytes": copies, "steps": steps}
    return figures, {
        "once in the export": copies["exported"] == words * width * 4,
        "once in INT8, after pruning": copies["compressed"] == words * width,
    }


def damage(folder: Path) -> Figures:
    from runtimes.errors import KilnxError
    from runtimes.onnx_files.load_save import load_model
    from runtimes.weight_store.store import create_store, extract_model, verify_store

    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(64, 64)).astype(np.float32) for _ in range(3)]
    outside = folder / "outside"
    outside.write_bytes(rng.bytes(64 * 64 * 4))
    inside = folder / "inside"
    inside.mkdir()
    for name in "ab":
        ir.save(chain([*weights[:2], weights[2] + ord(name)]), inside / f"{name}.onnx")
    create_store(inside / "store", [inside / "a.onnx", inside / "b.onnx"])
    ir.save(chain(weights), inside / "m.onnx", external_data="m.data", size_threshold_bytes=0)
    files = sorted(p for p in (inside / "store").rglob("*") if p.is_file())
    good = {path: path.read_bytes() for path in (*files, inside / "m.data", inside / "m.onnx")}
    kept = outside.read_bytes()
    counts = {"flip": 0, "truncation": 0, "location": 0}
    missed = crashed = 0
    locations = (
        "../outside",
        str(outside),
        "/etc/passwd",
        "a/../../outside",
        "link",
        "\\\\x",
        "C:\\x",
    )
    (inside / "link").symlink_to(outside)
    for _ in range(500):
        kind = ("flip", "truncation", "location")[rng.integers(3)]
        counts[kind] += 1
        if kind == "location":
            path = inside / "m.onnx"
            model = ir.load(path)
            tensor = model.graph.initializers["w1"].const_value
            assert tensor is not None
            model.graph.initializers["w1"].const_value = ir.ExternalTensor(
                locations[rng.integers(len(locations))],
                None,
                None,
                tensor.dtype,
                shape=ir.Shape(tensor.shape.numpy()),
                name="w1",
            )
            path.write_bytes(ir.to_proto(model).SerializeToString())
            check: Callable[[], object] = lambda: load_model(inside / "m.onnx")  # noqa: E731
        else:
            choice = files if kind == "flip" else [*files, inside / "m.data"]
            path = choice[rng.integers(len(choice))]
            raw = bytearray(good[path])
            if kind == "flip":
                raw[rng.integers(len(raw))] ^= 1 << rng.integers(8)
            else:
                del raw[rng.integers(len(raw)) :]
            path.write_bytes(raw)
            check = (
                (lambda: load_model(inside / "m.onnx"))
                if path.name == "m.data"
                else lambda: _both(verify_store, extract_model, inside / "store", folder)
            )
        try:
            if check() is not True:
                missed += 1
        except KilnxError:
            pass
        except Exception as error:
            print(f"{kind} of {path}: {type(error).__name__}: {error}", file=sys.stderr)
            crashed += 1
        path.write_bytes(good[path])
    figures = {"damage": counts, "missed": missed, "crashed": crashed}
    return figures, {
        "each detected": missed == 0,
        "none crashes": crashed == 0,
        "no file outside touched": outside.read_bytes() == kept,
    }


def _both(verify: Any, extract: Any, store: Path, folder: Path) -> bool:
    """Whether both verifying the store and extracting every model detect the damage."""
    from runtimes.errors import KilnxError

    try:
        noticed = not verify(store).passed
    except KilnxError:
        noticed = True
    clean = 0
    for name in "ab":
        try:
            extract(store, name, folder / "extracted.onnx", force=True)
            clean += 1
        except KilnxError:
            pass
    return noticed and clean < 2


def large(folder: Path) -> Figures:
    size = (5120, 5120)  # 105 MB per tensor
    rng = np.random.default_rng(0)
    base = rng.normal(size=size).astype(np.float32)

    # Shifting the rows differently gives another tensor without drawing random numbers again.
    def variant(index: int) -> Any:
        if index == 20:
            return base.T
        if index in (0, 21, 22):
            return base
        return np.roll(base, 7 * (3 if index == 23 else index) + 1, axis=0)

    with (folder / "m.data").open("wb") as file:
        for index in range(24):
            np.ascontiguousarray(variant(index)).tofile(file)
    x = ir.val("x", ir.DataType.FLOAT, ["N", size[0]])
    value, nodes, initializers = x, [], []
    for index in range(24):
        tensor = ir.ExternalTensor(
            "m.data",
            index * base.nbytes,
            base.nbytes,
            ir.DataType.FLOAT,
            shape=ir.Shape(size),
            name=f"w{index}",
            base_dir=folder,
        )
        weight = ir.val(f"w{index}", ir.DataType.FLOAT, size, const_value=tensor)
        nodes.append(ir.node("MatMul", [value, weight]))
        value = nodes[-1].outputs[0]
        value.name = f"v{index}"
        initializers.append(weight)
    value.type, value.shape = x.type, x.shape
    graph = ir.Graph(
        [x], [value], nodes=nodes, initializers=initializers, opset_imports={"": 18}, name="large"
    )
    (folder / "m.onnx").write_bytes(ir.to_proto(ir.Model(graph, ir_version=9)).SerializeToString())
    copies, dedupes, found = [], [], {}
    for _ in range(3):
        os.sync()  # pending writes would slow down what is timed next
        begin = time.perf_counter()
        for copy in ("first.data", "second.data"):
            shutil.copyfile(folder / "m.data", folder / copy)
        copies.append(time.perf_counter() - begin)
        for copy in ("first.data", "second.data"):
            (folder / copy).unlink()
        os.sync()
        found = child("dedupe", folder)
        dedupes.append(found["seconds"])
        shutil.rmtree(folder / "out")
    store = child("store", folder)
    figures = {
        "bytes": (folder / "m.data").stat().st_size,
        "merged": found["merged"],
        "peak beyond one tensor, MB": (found["peak"] - 105e6) / 1e6,
        "store: peak beyond one tensor, MB": (store["peak"] - 105e6) / 1e6,
        "seconds": {"copied twice": copies, "dedupe": dedupes, "store": store["seconds"]},
    }
    return figures, {
        "all four merged": found["merged"] == 4,
        "peak under 300 MB beyond one tensor": found["peak"] - 105e6 < 300e6,
        "no slower than copying twice": bool(np.median(dedupes) <= np.median(copies)),
    }


CASES: dict[str, Callable[[Path], Figures]] = {
    "planted": planted,
    "siblings": siblings,
    "family": family,
    "tied": tied,
    "damage": damage,
    "large": large,
}


if __name__ == "__main__":
    sys.exit(main())
