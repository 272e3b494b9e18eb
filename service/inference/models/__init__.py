"""Published models in memory: loading, lookup by name and version, and changes while the service runs."""
