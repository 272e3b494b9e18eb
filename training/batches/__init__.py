"""Batch sources: the images, labels and teacher probabilities of each training step."""
