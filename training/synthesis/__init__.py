"""Synthetic images: augmentation, rendered pen strokes, canvases, and drawings that are no digits."""
