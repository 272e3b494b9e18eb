"""Inkling's service: predictions, explanations and weight images over HTTP and gRPC."""
