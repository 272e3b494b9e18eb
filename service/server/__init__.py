"""The serving process: startup, uvicorn's server with our own listeners, and the operators' listener."""
