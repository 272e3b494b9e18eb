"""The HTTP/1.1 server: listeners, connections and their limits, below uvicorn's process handling."""
