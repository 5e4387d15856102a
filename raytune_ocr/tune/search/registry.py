"""Searches by name."""

from __future__ import annotations

from raytune_ocr.tune.search.optuna_search import OptunaSearch
from raytune_ocr.tune.search.random_search import RandomSearch

SEARCH_KINDS = {"random": RandomSearch, "optuna": OptunaSearch}
