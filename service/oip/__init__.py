"""Open Inference Protocol (v2) without a transport: tensors, inference, metadata, model repository."""
