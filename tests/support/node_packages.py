"""Skip what needs Node and an npm package where they are not installed."""

from __future__ import annotations

import pytest

from runtimes import RuntimeUnavailable
from runtimes.engines.onnxruntime_js.packages import require_onnxruntime_js

JAVASCRIPT = ("onnxruntime-node", "onnxruntime-web")


def skip_without(package: str) -> None:
    try:
        require_onnxruntime_js(package)
    except RuntimeUnavailable as error:
        pytest.skip(str(error))
