"""Networks: ONNX reader, dense layers, int8, the engine, attribution, OOD score, weight images."""
