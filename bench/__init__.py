"""What a request costs, beside the bare transport and what most people write."""
