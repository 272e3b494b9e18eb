"""Readers of own data, one module per form of file."""
