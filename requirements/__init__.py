"""Pinned requirements with digests, and what writes them."""
