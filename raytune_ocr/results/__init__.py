"""Files of a run: the journal, the results JSON, tables and their analysis."""
