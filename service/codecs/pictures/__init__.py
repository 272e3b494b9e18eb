"""Image files: decoding, memory cost, PNG encoding."""
