"""What runs a network: ONNX Runtime, OpenVINO, torch, or NumPy, behind one protocol."""
