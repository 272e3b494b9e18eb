"""Drawings on canvases and in pictures, as programs and people send them."""
