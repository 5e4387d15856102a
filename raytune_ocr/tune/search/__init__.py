"""Searchers, which choose the parameters of the next trial; without Ray, files or budgets."""
