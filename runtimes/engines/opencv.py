"""OpenCV's DNN module as a runtime, with its new engine or its classic one.

https://docs.opencv.org/5.x/d6/d0f/group__dnn.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from runtimes.base import Array, Feed
from runtimes.engines.fixed_sizes import Sizes
from runtimes.engines.opencv_layers import layers_of
from runtimes.engines.placement import LayerPrecision
from runtimes.engines.provider_table import require_package
from runtimes.engines.shaped import Opened, ShapedRuntime
from runtimes.errors import DataError
from runtimes.onnx_files.validation import InvalidModel, check_inference

_SILENT = 0

# Where in OpenCV's source an error arose: only the file says something.
_PLACE = re.compile(r"OpenCV\([\d.]+\) \S*?(\w+)\.[ch]pp:\d+: error: \(-?\d+:[^)]*\) ")

_NODE = re.compile(
    r"Node \[(?P<op>[^\]@]+)@(?P<domain>[^\]]*)\]:\((?:onnx_node(?:_output_\d+)?!)?(?P<name>.*?)\)"
    r" parse error"
)


class Unread(Exception):
    """OpenCV gives back a network without layers."""


class OpenCvRuntime(ShapedRuntime):
    """One ONNX model in the new engine of OpenCV's DNN module, on the CPU.

    The number of threads is OpenCV's own, of the whole process, and is set before each run. Known
    faults of both engines are listed in ``runtimes.engines.known_faults``.
    """

    engine = "OpenCV"
    asked = "opencv"
    classic: ClassVar[bool] = False

    def _require(self) -> str:
        self._cv2 = require_package("cv2", "OpenCV", "opencv")
        return str(self._cv2.__version__)

    def _adapted(self, model: ir.Model) -> ir.Model:
        """The model, whose sizes were checked: OpenCV cuts those that do not go together."""
        check_inference(ir.to_proto(model), lambda tensor: None)
        return model

    def _open(self, path: Path, sizes: Sizes) -> Any:
        dnn = self._cv2.dnn
        kind = dnn.ENGINE_CLASSIC if self.classic else dnn.ENGINE_NEW
        with self._quiet():
            # From bytes OpenCV 5.0 always reads with the new engine, whichever is asked for.
            net = dnn.readNetFromONNX(str(path), kind)
        if net.empty():
            raise Unread("it does not read this model, and does not say why")
        return net

    def _call(self, opened: Opened, feed: Feed) -> Sequence[Array | None]:
        with self._quiet():
            self._cv2.setNumThreads(-1 if self.threads is None else self.threads)
            for name, values in feed.items():
                opened.model.setInput(self._taken(name, values), name)
            found = opened.model.forward(list(opened.outputs))
        # The arrays are views of memory that the next run writes into.
        return [None if value is None else np.array(value) for value in found]

    def _layers(self, opened: Opened) -> Sequence[LayerPrecision]:
        return layers_of(opened.model, classic=self.classic)

    def _is_engines(self, error: Exception) -> bool:
        return isinstance(error, self._cv2.error | Unread | InvalidModel)

    def _reason(self, error: Exception) -> str:
        text = re.sub(r"\s+", " ", str(error)).strip()
        found = _NODE.search(text)
        reason = _PLACE.sub(r"\1: ", text)
        reason = re.sub(r" ?in function '[^']*'( [>:])*", "", reason).rstrip(" >")
        if found is None:
            return reason[:300]
        reason = reason.rsplit("parse error: ", 1)[-1]
        domain = "" if found["domain"] == "ai.onnx" else f"{found['domain']}."
        return f"node {found['name']!r} ({domain}{found['op']}): {reason[:300]}"

    def _taken(self, name: str, values: Array) -> Array:
        """Values as OpenCV takes them: in one block, and none beyond what it keeps."""
        if values.size == 0:
            raise DataError(f"{self.name}: OpenCV takes no empty array, and {name!r} is one")
        if self.classic and values.dtype in (np.int64, np.uint64):
            limits = np.iinfo(np.int32)
            if values.min() < limits.min or values.max() > limits.max:
                raise DataError(
                    f"{self.name}: OpenCV's classic engine computes integers in 32 bits, and "
                    f"{name!r} holds larger ones; run it on another provider"
                )
        return np.asarray(values, order="C")

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Keep OpenCV from printing: what it has to say is in its exceptions."""
        logging = self._cv2.utils.logging
        before = logging.setLogLevel(_SILENT)
        try:
            yield
        finally:
            logging.setLogLevel(before)


class OpenCvClassicRuntime(OpenCvRuntime):
    """One ONNX model in OpenCV's classic engine, the one of OpenCV 4."""

    engine = "OpenCV's classic engine"
    asked = "opencv-classic"
    classic = True
