"""Post-training quantisation of a published float32 network to int8."""
