"""The messages and calls of ``inference.GRPCInferenceService``, as a table.

The public specification is
https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto
and, for what it lacks (statistics, the repository, streams),
https://github.com/triton-inference-server/common/blob/main/protobuf/grpc_service.proto.
A field is ``number name type``; ``*`` repeats it, ``{}`` makes it a map from strings, and ``?``
puts it into the message's only oneof.
"""

from __future__ import annotations

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

_PARAMETER = (
    "1 bool_param bool?",
    "2 int64_param int64?",
    "3 string_param string?",
    "4 double_param double?",
    "5 uint64_param uint64?",
)
_NAME_AND_VERSION = ("1 name string", "2 version string")
_TENSOR = (
    "1 name string",
    "2 datatype string",
    "3 shape int64*",
    "4 parameters InferParameter{}",
    "5 contents InferTensorContents",
)

MESSAGES: dict[str, tuple[str, ...]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("1 live bool",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("1 ready bool",),
    "ModelReadyRequest": _NAME_AND_VERSION,
    "ModelReadyResponse": ("1 ready bool",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": ("1 name string", "2 version string", "3 extensions string*"),
    "ModelMetadataRequest": _NAME_AND_VERSION,
    "ModelMetadataResponse": (
        "1 name string",
        "2 versions string*",
        "3 platform string",
        "4 inputs ModelMetadataResponse.TensorMetadata*",
        "5 outputs ModelMetadataResponse.TensorMetadata*",
    ),
    "ModelMetadataResponse.TensorMetadata": (
        "1 name string",
        "2 datatype string",
        "3 shape int64*",
    ),
    "InferParameter": _PARAMETER,
    "InferTensorContents": (
        "1 bool_contents bool*",
        "2 int_contents int32*",
        "3 int64_contents int64*",
        "4 uint_contents uint32*",
        "5 uint64_contents uint64*",
        "6 fp32_contents float*",
        "7 fp64_contents double*",
        "8 bytes_contents bytes*",
    ),
    "ModelInferRequest": (
        "1 model_name string",
        "2 model_version string",
        "3 id string",
        "4 parameters InferParameter{}",
        "5 inputs ModelInferRequest.InferInputTensor*",
        "6 outputs ModelInferRequest.InferRequestedOutputTensor*",
        "7 raw_input_contents bytes*",
    ),
    "ModelInferRequest.InferInputTensor": _TENSOR,
    "ModelInferRequest.InferRequestedOutputTensor": (
        "1 name string",
        "2 parameters InferParameter{}",
    ),
    "ModelInferResponse": (
        "1 model_name string",
        "2 model_version string",
        "3 id string",
        "4 parameters InferParameter{}",
        "5 outputs ModelInferResponse.InferOutputTensor*",
        "6 raw_output_contents bytes*",
    ),
    "ModelInferResponse.InferOutputTensor": _TENSOR,
    "ModelStreamInferResponse": (
        "1 error_message string",
        "2 infer_response ModelInferResponse",
    ),
    "ModelStatisticsRequest": _NAME_AND_VERSION,
    "ModelStatisticsResponse": ("1 model_stats ModelStatistics*",),
    "ModelStatistics": (
        "1 name string",
        "2 version string",
        "3 last_inference uint64",
        "4 inference_count uint64",
        "5 execution_count uint64",
        "6 inference_stats InferStatistics",
        "7 batch_stats InferBatchStatistics*",
    ),
    "StatisticDuration": ("1 count uint64", "2 ns uint64"),
    "InferStatistics": (
        "1 success StatisticDuration",
        "2 fail StatisticDuration",
        "3 queue StatisticDuration",
        "4 compute_input StatisticDuration",
        "5 compute_infer StatisticDuration",
        "6 compute_output StatisticDuration",
        "7 cache_hit StatisticDuration",
        "8 cache_miss StatisticDuration",
    ),
    "InferBatchStatistics": (
        "1 batch_size uint64",
        "2 compute_input StatisticDuration",
        "3 compute_infer StatisticDuration",
        "4 compute_output StatisticDuration",
    ),
    "ModelRepositoryParameter": (
        "1 bool_param bool?",
        "2 int64_param int64?",
        "3 string_param string?",
    ),
    "RepositoryIndexRequest": ("1 repository_name string", "2 ready bool"),
    "RepositoryIndexResponse": ("1 models RepositoryIndexResponse.ModelIndex*",),
    "RepositoryIndexResponse.ModelIndex": (
        "1 name string",
        "2 version string",
        "3 state string",
        "4 reason string",
    ),
    "RepositoryModelLoadRequest": (
        "1 repository_name string",
        "2 model_name string",
        "3 parameters ModelRepositoryParameter{}",
    ),
    "RepositoryModelLoadResponse": (),
    "RepositoryModelUnloadRequest": (
        "1 repository_name string",
        "2 model_name string",
        "3 parameters ModelRepositoryParameter{}",
    ),
    "RepositoryModelUnloadResponse": (),
}
"""The fields of each message; one inside of another is named with a dot."""

CALLS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "ModelStatistics",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
)
"""Calls of one request and one answer, the messages of which are named like them."""

STREAM = "ModelStreamInfer"
"""A stream of ``ModelInferRequest``, answered by a stream of ``ModelStreamInferResponse``."""
