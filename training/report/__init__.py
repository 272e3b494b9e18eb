"""What is known of a published network, as numbers and pictures."""
