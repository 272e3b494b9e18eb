"""Charts of a report as PNG files, in a light and a dark theme."""
