"""Limits of calls and connections, shared fairly between clients."""
