"""What a run leaves: the journal, the results JSON, tables and their analysis."""
