"""Subcommands that measure, and write their figures into a page of the documentation."""
