"""Runs ONNX files on the samples of an .npz: what ``benchmarks/arm.py`` starts on both machines.

    python arm_worker.py jobs.json

Needs ONNX Runtime and NumPy only. ``jobs.json`` lists jobs of ``model``, ``data`` and ``output``.
"""

import json
import sys
import time

import numpy as np
import onnxruntime as ort


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123
        jobs = json.load(file)
    for job in jobs:
        begin = time.perf_counter()
        with np.load(job["data"]) as arrays:
            feed = {name: arrays[name] for name in arrays.files}
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = ort.InferenceSession(job["model"], options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        found = session.run(names, {one.name: feed[one.name] for one in session.get_inputs()})
        np.savez(job["output"], **dict(zip(names, found, strict=True)))
        print(f"{job['model']} {time.perf_counter() - begin:.1f} s", flush=True)


if __name__ == "__main__":
    main()
