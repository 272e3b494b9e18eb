"""Memory budget of requests and responses."""
