"""Several worker processes on one port: supervisor, worker-side handle, and shared memory."""
