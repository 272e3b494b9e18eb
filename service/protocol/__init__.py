"""The Open Inference Protocol, version 2: what any client of it may ask, whichever way it comes."""
