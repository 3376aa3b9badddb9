"""Graphs for onnxruntime: tracing, quantization, and onnxruntime to certify them."""
