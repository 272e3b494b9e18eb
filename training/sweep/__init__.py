"""Hyperparameter search: a study of trials that several workers share."""
