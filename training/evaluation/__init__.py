"""Evaluation of fits: accuracy, calibration, out-of-distribution threshold, preprocessing ablation."""
