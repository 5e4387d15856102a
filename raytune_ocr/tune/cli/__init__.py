"""The command line of `tune`: its parser and its commands."""
