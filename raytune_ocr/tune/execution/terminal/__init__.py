"""The live table of a running tune."""
