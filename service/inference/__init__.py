"""What HTTP and gRPC share: admission, the prediction pipeline, and the served models."""
