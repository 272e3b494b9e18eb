"""Protobuf messages of the Open Inference Protocol: reading from a call, scanning, parsing, serializing."""
