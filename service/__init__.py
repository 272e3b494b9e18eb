"""Inkling's service: predictions, weight images and explanations over HTTP."""
