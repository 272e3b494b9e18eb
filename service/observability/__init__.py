"""Logging, metrics and statistics of the service."""
