"""What ONNX Runtime's profiler wrote about kernels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SUFFIX = "_kernel_time"


def read_events(path: Path) -> dict[str, list[Mapping[str, Any]]]:
    """The profiler's events of kernels by node name, in order."""
    events: dict[str, list[Mapping[str, Any]]] = {}
    for event in json.loads(path.read_text(encoding="utf-8")):
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(_SUFFIX):
            events.setdefault(name.removesuffix(_SUFFIX), []).append(event)
    return events
