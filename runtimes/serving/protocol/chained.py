"""An answer that is sent on as a request: in a graph of models, each is asked what one answered.

An InferenceGraph of KServe passes on the body of an answer as it is. Its tensors stand under
"outputs" then, and those of a request under "inputs".
https://kserve.github.io/website/docs/model-serving/inferencegraph/overview
"""

from __future__ import annotations

from typing import Any


def answer_as_request(document: Any) -> dict[str, Any] | None:
    """The request that asks about an answer's tensors; None for what is no answer."""
    if not isinstance(document, dict) or "inputs" in document or "model_name" not in document:
        return None
    tensors = document.get("outputs")
    if not isinstance(tensors, list) or not tensors:
        return None
    # What the answer says of itself, such as its version, is no part of the next question.
    return {key: document[key] for key in ("id",) if key in document} | {"inputs": tensors}
