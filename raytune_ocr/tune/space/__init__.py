"""Experiments of a YAML file: sections, search domains, checks."""
