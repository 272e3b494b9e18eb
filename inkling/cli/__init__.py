"""Command line: `inkling serve`, `predict`, `score`, `models` and `key`."""
