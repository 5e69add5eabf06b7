"""The Open Inference Protocol, version 2: requests and answers as values, without any I/O.

Its specification is https://github.com/kserve/open-inference-protocol; the extensions are
Triton's: https://github.com/triton-inference-server/server/tree/main/docs/protocol.
"""
