"""Schedulers and searchers by name.

A new one is a file with a line here, or an entry point of another package.
"""

from __future__ import annotations

from typing import Any

from raytune_ocr.plugins import Registry

SCHEDULERS: Registry[Any] = Registry(
    "scheduler",
    "raytune_ocr.schedulers",
    {
        "asha": "raytune_ocr.tune.schedulers.asha:ASHA",
        "freeze-thaw": "raytune_ocr.tune.schedulers.freeze_thaw:FreezeThaw",
        "halving": "raytune_ocr.tune.schedulers.successive_halving:SuccessiveHalving",
        "hyperband": "raytune_ocr.tune.schedulers.hyperband:AsyncHyperBand",
        "median": "raytune_ocr.tune.schedulers.median:MedianRule",
        "pbt": "raytune_ocr.tune.schedulers.population_based:PopulationBased",
        "none": "raytune_ocr.tune.schedulers.fifo:FIFO",
    },
)
"""Subclasses of `tune.schedulers.base.Scheduler`."""
AUTO = "auto"
"""Instead of a scheduler's name: `tune.schedulers.automatic` picks one."""

SEARCHERS: Registry[Any] = Registry(
    "search",
    "raytune_ocr.searchers",
    {
        "random": "raytune_ocr.tune.search.random_search:RandomSearch",
        "optuna": "raytune_ocr.tune.search.optuna_search:OptunaSearch",
        "optuna-gp": "raytune_ocr.tune.search.optuna_gp_search:OptunaGPSearch",
    },
)
"""Subclasses of `tune.search.base.Searcher`."""
