"""UNIPEN archives: reading, parsing, and conversion to the pen digit format."""
