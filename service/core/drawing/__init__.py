"""Preprocessing of drawings to the input shape of the networks."""
