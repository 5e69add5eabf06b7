"""Does tritonclient get from ``kilnx serve`` what the model gives in this process, bit by bit?

    python benchmarks/serve_clients.py [--cache .peers]

One model has an input and an output of every type, and a product of matrices. tritonclient, in an
environment of its own, asks for all of it over HTTP with binary tensors, over HTTP with JSON, and
over gRPC. Exits with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from peer_environment import python_with
from serve_process import free_port, started
from serve_tensors import from_json, to_json

HERE = Path(__file__).parent
MODEL = "types"
TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
ROWS, WIDTH = 5, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path(".peers"))
    python = python_with(["tritonclient[http,grpc]"], parser.parse_args().cache / "tritonclient")
    with tempfile.TemporaryDirectory() as folder:
        differences = compare(python, Path(folder))
    for each in differences:
        print(f"DIFFERENT: {each}")
    sys.exit(1 if differences else 0)


def compare(python: str, folder: Path) -> list[str]:
    """What tritonclient got that is not what the model gives here."""
    path = folder / f"{MODEL}.onnx"
    onnx.save(model(), path)
    inputs = samples()
    expected = run_here(path, inputs)
    (folder / "inputs.json").write_text(json.dumps(to_json(inputs)))
    http, grpc = free_port(), free_port()
    serve = [sys.executable, "-m", "converter", "serve", f"{MODEL}={path}"]
    ports = ["--port", str(http), "--grpc-port", str(grpc)]
    ready = f"http://127.0.0.1:{http}/v2/health/ready"
    with started([*serve, *ports], ready, folder / "log"):
        addresses = [f"127.0.0.1:{http}", f"127.0.0.1:{grpc}"]
        files = [str(folder / "inputs.json"), str(folder / "outputs.json")]
        peer = [python, str(HERE / "serve_clients_peer.py"), *addresses, MODEL, *files]
        subprocess.run(peer, check=True)
    return list(differences_in(json.loads((folder / "outputs.json").read_text()), expected))


def model() -> onnx.ModelProto:
    """Each input goes through, and FP32 is multiplied by a matrix as well."""
    shape = ["rows", WIDTH]
    inputs = [helper.make_tensor_value_info(f"in {name}", t, shape) for name, t in TYPES.items()]
    outputs = [helper.make_tensor_value_info(f"out {name}", t, shape) for name, t in TYPES.items()]
    nodes = [helper.make_node("Identity", [f"in {name}"], [f"out {name}"]) for name in TYPES]
    weights = np.random.default_rng(0).standard_normal((WIDTH, 7)).astype(np.float32)
    nodes.append(helper.make_node("MatMul", ["in FP32", "weights"], ["product"]))
    outputs.append(helper.make_tensor_value_info("product", TensorProto.FLOAT, ["rows", 7]))
    constants = [numpy_helper.from_array(weights, "weights")]
    graph = helper.make_graph(nodes, MODEL, inputs, outputs, constants)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9)


def samples() -> dict[str, np.ndarray]:
    """Random bits of every type, without what JSON cannot hold; texts are more than ASCII."""
    random = np.random.default_rng(1)
    found: dict[str, np.ndarray] = {}
    for name, onnx_type in TYPES.items():
        dtype = helper.tensor_dtype_to_np_dtype(onnx_type)
        if name == "BYTES":
            texts = [("né" * (number % 4)).encode() for number in range(ROWS * WIDTH)]
            array = np.array(texts, object)
        elif name == "BOOL":
            array = random.random(ROWS * WIDTH) < 0.5
        else:
            array = np.frombuffer(random.bytes(ROWS * WIDTH * dtype.itemsize), dtype).copy()
            array[~np.isfinite(array)] = 0
        found[f"in {name}"] = array.reshape(ROWS, WIDTH)
    return found


def run_here(path: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = dict(inputs)
    feed["in BYTES"] = np.array([each.decode() for each in feed["in BYTES"].ravel()], object)
    feed["in BYTES"] = feed["in BYTES"].reshape(ROWS, WIDTH)
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def differences_in(found: dict[str, Any], expected: dict[str, np.ndarray]) -> list[str]:
    wanted, differences = to_json(expected), []
    for how, answer in found.items():
        if how.startswith("told"):
            print(f"{how}: {answer}")
            differences += [f"{how}: {name}" for name, value in answer.items() if not value]
            continue
        same = [name for name in wanted if to_json(from_json(answer))[name] == _plain(wanted[name])]
        print(f"{how}: {len(same)} of {len(wanted)} outputs are the same, bit by bit")
        differences += [f"{how}: {name}" for name in wanted if name not in same]
    return differences


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "shape": tuple(value["shape"])}


if __name__ == "__main__":
    main()
