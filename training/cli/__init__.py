"""The command line: arguments, subcommands and console output."""
