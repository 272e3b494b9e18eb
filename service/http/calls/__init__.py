"""Calls: HTTP requests in progress, each answered directly or by the ASGI application."""
