"""Data sets as whole arrays: downloaded, verified by digest, and divided into parts."""
