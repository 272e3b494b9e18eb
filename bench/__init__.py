"""What a request costs, beside the bare transport, what most people write, and other model servers."""
