"""Several worker processes on one port: a supervisor, the worker-side handle, and the memory they share."""
