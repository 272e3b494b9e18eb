"""Bulk scoring: predicts all images of a file or folder into one Parquet file, with all cores, resumable."""
