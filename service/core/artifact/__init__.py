"""Published folders: reading, verifying and writing them."""
