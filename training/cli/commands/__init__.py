"""Subcommands: the module of each one is named after it, and has `run(arguments, data, data_sets)`."""
