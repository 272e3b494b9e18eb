"""From a fitted network to a published folder, and what stands in the folders."""
