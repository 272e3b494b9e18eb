"""Network architectures in PyTorch: multilayer perceptron and convolutional network."""
