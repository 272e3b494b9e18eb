"""Segmentation of pictures: where the ink of a digit is, and how clear that is."""
