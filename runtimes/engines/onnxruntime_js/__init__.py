"""ONNX Runtime in Node: its native build and the WebAssembly build that runs in browsers."""
