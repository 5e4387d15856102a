"""Schedulers that survive a restart: nobody is judged twice, or against late figures.

They know trials by name, and have what they decided noted in the run's state. Ray's own forget all
of it when the driver ends.

- ASHA: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (2020), in its stopping
  form: at each rung a trial goes on only if it is at least as good as the top 1/reduction_factor of
  those that were there before it.
- HyperBand, asynchronous as in that paper: ASHA several times over, with rungs that begin later and
  later, for trials that are slow to show what they are worth.
- The median stopping rule: Golovin et al., "Google Vizier" (2017).

Those whose trials wait for each other are in `halving.py` and `population.py`; all that is here of
them is the end of a trial's turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from raytune_ocr.results.journal import RunState
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.options import WAITING, TuneOptions
from raytune_ocr.tune.schedulers.asha import AsyncHyperBand, PersistentASHA
from raytune_ocr.tune.schedulers.median import MedianRule
from raytune_ocr.tune.schedulers.pause import Turns


def create_scheduler(
    options: TuneOptions,
    state: RunState,
    records: Mapping[str, TrialRecord],
    possible: Iterable[TrialRecord] = (),
) -> PersistentASHA | MedianRule | Turns | None:
    """The scheduler that `options` name; None: no trial is stopped early.

    Args:
        records: of the run, which grow while it goes on.
        possible: trials that may come to them.
    """
    if options.scheduler == "none":
        return None
    if options.scheduler in WAITING:
        return Turns()
    if options.scheduler == "median":
        return MedianRule(state, records, options.grace_period)
    kind = AsyncHyperBand if options.scheduler == "hyperband" else PersistentASHA
    return kind(
        state,
        grace_period=options.grace_period,
        reduction_factor=options.reduction_factor,
        max_epochs=max(r.config.num_epochs for r in (*records.values(), *possible)),
    )
