"""A gated model to a smaller one, its parity certificate, and ONNX."""
