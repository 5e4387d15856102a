"""Schedulers, which choose the trial that trains next and its milestone; without Ray or files."""
