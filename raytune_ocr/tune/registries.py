"""Schedulers and searchers by name.

A new one is a file with an entry here, or an entry point of another package.
"""

from __future__ import annotations

from typing import Any

from raytune_ocr.plugins import Home, Registry

_SCHEDULERS = "raytune_ocr.tune.schedulers"
_SEARCH = "raytune_ocr.tune.search"

SCHEDULERS: Registry[Any] = Registry(
    "scheduler",
    "raytune_ocr.schedulers",
    {
        "asha": Home(
            f"{_SCHEDULERS}.asha:ASHA", "a trial that is worse than the top 1/N at a rung stops"
        ),
        "freeze-thaw": Home(
            f"{_SCHEDULERS}.freeze_thaw:FreezeThaw",
            "a model of all learning curves chooses which trial starts, or continues from its "
            "pause, until --epoch-budget is spent: the fewest epochs if there are many samples",
        ),
        "halving": Home(
            f"{_SCHEDULERS}.successive_halving:SuccessiveHalving",
            "all trials pause at each rung and the best 1/N continue: fewer epochs, for a handful "
            "of trials",
        ),
        "hyperband": Home(
            f"{_SCHEDULERS}.hyperband:AsyncHyperBand",
            "asha with later first rungs for some trials",
        ),
        "median": Home(
            f"{_SCHEDULERS}.median:MedianRule", "a trial below the median of the others stops"
        ),
        "pbt": Home(
            f"{_SCHEDULERS}.population_based:PopulationBased",
            "population based training, where every --grace-period epochs copies of the best "
            "quarter replace the worst quarter, named NAME_g1, NAME_g2, ..., with changed learning "
            "rates and other settings that may change during training; use as many trials as run "
            "at the same time, and a grace period of a tenth of their epochs",
        ),
        "none": Home(f"{_SCHEDULERS}.fifo:FIFO", "no trial stops"),
    },
)
"""Subclasses of `tune.schedulers.base.Scheduler`."""
AUTO = "auto"
"""Instead of a scheduler's name: `tune.schedulers.automatic` picks one."""

SEARCHERS: Registry[Any] = Registry(
    "search",
    "raytune_ocr.searchers",
    {
        "random": Home(
            f"{_SEARCH}.random_search:RandomSearch", "all trials are drawn at the start"
        ),
        "optuna": Home(
            f"{_SEARCH}.optuna_search:OptunaSearch",
            "Optuna's TPE draws each trial from the results before it (extra `optuna`)",
        ),
        "optuna-gp": Home(
            f"{_SEARCH}.optuna_gp_search:OptunaGPSearch",
            "Optuna's Gaussian process draws them, for at most some hundred trials "
            "(extra `optuna`)",
        ),
    },
)
"""Subclasses of `tune.search.base.Searcher`."""
