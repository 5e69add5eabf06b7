"""Loop as ONNX has it: https://onnx.ai/onnx/operators/onnx__Loop.html."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtimes.base import Array


def loop_operator() -> type[Any]:
    """The evaluator's own takes no condition for a false one, and stacks what it scans wrongly."""
    from onnx.reference.ops.op_loop import Loop as Own

    def run(
        self: Any,
        count: Any,
        condition: Any,
        *carried: Any,
        context: Any = None,
        body: Any = None,
        **rest: Any,
    ) -> tuple[Array, ...]:
        del body
        step_name, condition_name, *names = self.body.input_names
        scanned: list[list[Array]] = [[] for _ in range(self.K)]
        values, step, goes_on = list(carried), 0, condition is None or bool(condition)
        while goes_on and (count is None or step < count):
            given = {**(context or {}), **dict(zip(names, values, strict=True))}
            given |= {step_name: np.array(step, np.int64), condition_name: np.array(True)}
            again, *found = self._run_body(given, **rest)
            goes_on, values, step = bool(again), found[: self.N], step + 1
            for pieces, piece in zip(scanned, found[self.N :], strict=True):
                pieces.append(piece)
        return (*values, *(np.stack(pieces) if pieces else np.empty(0) for pieces in scanned))

    return type("Loop", (Own,), {"op_domain": "", "_run": run})
