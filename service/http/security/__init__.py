"""Checks of a request: hosts, origins, client address, API keys; security headers."""
