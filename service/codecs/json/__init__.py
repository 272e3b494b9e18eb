"""JSON bodies: documents, images, long lists of numbers."""
