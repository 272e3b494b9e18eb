"""Arrays and files: networks, drawings and what a published folder contains."""
