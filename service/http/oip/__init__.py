"""Endpoints of the Open Inference Protocol and of KServe v1 over HTTP."""
