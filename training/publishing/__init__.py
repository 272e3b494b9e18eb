"""Publication of fitted networks: ONNX export, verification, folders, and their table."""
