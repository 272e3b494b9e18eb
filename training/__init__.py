"""Inkling's offline trainer: learns networks and publishes them for the service."""
