"""The Open Inference Protocol over gRPC, with the standard health and reflection services.

Imported only if the setting `grpc_port` is set.
"""
