"""Data sets as whole arrays: fetched, verified by digest, split."""
