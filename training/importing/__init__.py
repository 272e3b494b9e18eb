"""Import of networks that were trained elsewhere: ONNX, PyTorch, scikit-learn and Keras."""
