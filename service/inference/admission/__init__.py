"""Admission: API keys, rights and rate limits, the same for HTTP and gRPC. `access` is the entry point."""
