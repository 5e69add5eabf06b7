"""Whether a model that was read is one: checked once, before anything trusts it."""

from runtimes.onnx_files.validation.inference import check_inference
from runtimes.onnx_files.validation.invalid import InvalidModel
from runtimes.onnx_files.validation.model import validate

__all__ = ["InvalidModel", "check_inference", "validate"]
