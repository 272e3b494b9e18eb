"""The Open Inference Protocol over gRPC, with the standard services for health and reflection.

Nothing here is imported unless the settings name a port for it.
"""
