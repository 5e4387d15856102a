"""Runs trials on Ray: workers, reports, memory, lost nodes and errors."""
