"""Endpoints of the HTTP API under `/v1`, for operators, and the web page."""
