"""Request bodies to images, by content type."""
