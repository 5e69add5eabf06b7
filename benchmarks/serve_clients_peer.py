"""Ask a server by tritonclient, every way that it has; run by serve_clients.py.

python serve_clients_peer.py HTTP_ADDRESS GRPC_ADDRESS MODEL INPUTS.json OUTPUTS.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as by_grpc
import tritonclient.http as by_http
from serve_tensors import from_json, to_json
from tritonclient.utils import np_to_triton_dtype

# tritonclient itself refuses to send these as JSON.
NOT_IN_JSON = {"FP16"}


def main() -> None:
    http_address, grpc_address, model, given, results = sys.argv[1:]
    inputs = from_json(json.loads(Path(given).read_text()))
    found: dict[str, Any] = {}
    with by_http.InferenceServerClient(http_address) as client:
        names = [each["name"] for each in client.get_model_metadata(model)["outputs"]]
        for way, binary in (("http binary", True), ("http json", False)):
            how = {"binary_data": binary}
            found[way] = ask(by_http, client, model, inputs, names=names, how=how)
        found["told by http"] = told(client, model)
    with by_grpc.InferenceServerClient(grpc_address) as client:
        found["grpc"] = ask(by_grpc, client, model, inputs, names=names, how={})
        found["told by grpc"] = told(client, model, as_json=True)
    Path(results).write_text(json.dumps(found))


def ask(
    library: Any,
    client: Any,
    model: str,
    inputs: dict[str, np.ndarray],
    *,
    names: list[str],
    how: dict[str, bool],
) -> dict[str, Any]:
    """The outputs of one request with all inputs, as ``how`` says."""
    given = []
    for name, array in inputs.items():
        datatype = np_to_triton_dtype(array.dtype)
        one = library.InferInput(name, list(array.shape), datatype)
        as_json = how.get("binary_data") is False and datatype not in NOT_IN_JSON
        one.set_data_from_numpy(array, **({"binary_data": False} if as_json else {}))
        given.append(one)
    wanted = [library.InferRequestedOutput(name, **how) for name in names]
    answer = client.infer(model, given, outputs=wanted, request_id="7")
    return to_json({name: output_of(answer.as_numpy(name)) for name in names})


def output_of(array: np.ndarray) -> np.ndarray:
    """Tritonclient gives strings from JSON as numpy's own."""
    return array.astype(object) if array.dtype.kind in "US" else array


def told(client: Any, model: str, **how: bool) -> dict[str, Any]:
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model ready": client.is_model_ready(model),
        "server": client.get_server_metadata(**how)["name"],
        "model": client.get_model_metadata(model, **how)["name"],
        "statistics": len(client.get_inference_statistics(model, **how)["model_stats"]),
        "index": bool(client.get_model_repository_index(**how)),
    }


if __name__ == "__main__":
    main()
