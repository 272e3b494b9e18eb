"""Inference requests and responses over HTTP: JSON, optionally followed by binary tensor contents."""
