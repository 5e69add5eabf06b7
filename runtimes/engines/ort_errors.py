"""ONNX Runtime's error messages, rewritten to begin with the node they are about."""

from __future__ import annotations

import re

import onnx_ir as ir


def is_onnxruntimes(error: Exception) -> bool:
    """Whether ONNX Runtime raised ``error``; its exception classes have no common base class."""
    return type(error).__module__ == "onnxruntime.capi.onnxruntime_pybind11_state"


def explain(error: Exception, model: ir.Model | None = None) -> str:
    """ONNX Runtime's message in one line that begins with the node it is about.

    Some messages name only the operator; the node is then the first such node in ``model``.
    """
    text = re.sub(r"\s+", " ", str(error)).strip()
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"(?:/[\w.+-]+)+\.(?:cc|h):\d+ ", "", text)  # a position in ORT's own source
    for pattern in (
        r"while running (?P<op>[\w.]+) node\. Name:'(?P<name>[^']*)'",
        r"find an implementation for (?P<op>[\w.]+)\(\d+\) node with name '(?P<name>[^']*)'",
        r"In Node, \(\"(?P<name>[^\"]*)\", (?P<op>[\w.]+),",
        r"operator \((?P<op>[\w.]+)\) in node \((?P<name>[^)]*)\)",
        r"Node \((?P<name>[^)]*)\) Op \((?P<op>[\w.]+)\)",
    ):
        found = re.search(pattern, text)
        if found:
            return f"node {found['name']!r} ({found['op']}): {_memory(text) or text[:500]}"
    found = re.search(r"(?P<domain>[\w.]*):(?P<op>\w+)\(-?\d+\) is not a registered", text)
    for graph in model.graphs() if found and model else ():
        for node in graph:
            if found and (node.domain, node.op_type) == (found["domain"], found["op"]):
                return f"node {node.name!r} ({node.op_type}): {text[:500]}"
    return _memory(text) or text[:500]


def _memory(text: str) -> str | None:
    """What to say about a failed allocation, None if the message is about something else."""
    found = re.search(r"allocate memory for requested buffer of size (\d+)", text)
    if found is None and "bad_alloc" not in text:
        return None
    size = f"{int(found[1]) / 1e9:.1f} GB at once" if found else "more"
    return f"out of memory: it needs {size}; try a smaller batch"
