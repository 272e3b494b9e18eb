"""The data plane that HTTP and gRPC share: admission, limits and the prediction pipeline."""
