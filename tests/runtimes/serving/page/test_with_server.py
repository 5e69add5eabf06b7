"""The page in Chromium with the real server behind it, whose answers are those it reads."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
from page_server import CHROMIUM, FakeServer, drive

MARKS = """
<ir_version: 10, opset_import: ["" : 18]>
marks (float[n, 8, 8, 1] image) => (float[n, 2] mark)
<int64[3] axes = {1, 2, 3}, int64[2] column = {-1, 1}, float[1] one = {1.0}> {
  mean = ReduceMean<keepdims = 0>(image, axes)
  light = Reshape(mean, column)
  dark = Sub(one, light)
  mark = Concat<axis = 1>(dark, light)
}
"""


@dataclass
class Relay(FakeServer):
    """Serves the page, and passes its calls on to a server."""

    url: str = ""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.asked.append((path, body))
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_reads_what_the_server_says(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    from converter.packaging.package import package
    from runtimes.serving.options import ServeOptions
    from runtimes.serving.run import running

    ir.save(ir.from_proto(onnx.parser.parse_model(MARKS)), tmp_path / "model.onnx")
    rng = np.random.default_rng(0)
    images = rng.random((200, 8, 8, 1), np.float32)
    labels = (images.mean((1, 2, 3)) > 0.5).astype(np.int64)
    bundle = tmp_path / "marks.kilnx"
    data = {"image": images, "labels": labels}
    package(tmp_path / "model.onnx", bundle, data, labels=("dark", "light"))
    with running(ServeOptions(models=(str(bundle),), port=0)) as where:
        relay = Relay(url=where.url)
        found = drive(
            relay,
            """await until(() => !at("send").disabled);
            draw([[.2, .3], [.8, .3]]);
            await until(() => at("answer").querySelector("b"), "an answer");
            at("many").click();
            await until(() => !at("send").disabled);
            await until(() => at("monitor").querySelector(".tests"), "the monitor");
            await until(() => at("latency").textContent.includes("on the server"));
            results.answer = at("answer").querySelector(".winner b").textContent;
            results.monitor = at("monitor").textContent;
            results.who = at("who").textContent;
            at("label").value = "1";
            at("feedback").requestSubmit();
            await until(() => at("feedback-said").textContent);
            results.thanks = at("feedback-said").textContent;
            page().querySelector("input[value=json]").click();
            at("text").value = JSON.stringify([
              {name: "picture", shape: [1], datatype: "FP32", data: [1]}]);
            at("send").click();
            await until(() => !at("error").hidden);
            results.refused = at("error").textContent;""",
        )
    assert found["answer"] == "dark"
    assert found["who"] == "the compressed model answers"
    assert "Inputs" in found["monitor"]
    assert found["thanks"].startswith("Thank you")
    assert "picture" in found["refused"]
    assert "violations" not in found
