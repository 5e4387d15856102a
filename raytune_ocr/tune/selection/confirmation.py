"""Train the best trials again with fresh seeds, and compare them seed by seed.

The best of many noisy scores is too good, so the winner of a search may only be lucky. Each of the
best trials trains again to its end with the same fresh seeds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, islice
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from raytune_ocr.config.metrics import score_of
from raytune_ocr.config.rules import LONGEST_NAME
from raytune_ocr.results.aggregate import ranking, trials_table
from raytune_ocr.results.document import results_of
from raytune_ocr.results.record import FINISHED, TrialRecord
from raytune_ocr.statistics import SIGNIFICANT, Lead, bootstrap_mean, paired_lead

if TYPE_CHECKING:
    import pandas as pd

SEEDS = 3
FIRST_SEED = 101
TEST = "two-sided paired t-test by seed"


def confirming_records(
    records: Iterable[TrialRecord], candidates: int | None, seeds: int | None
) -> dict[str, TrialRecord]:
    """Return new trials by name, `NAME-seed101` etc.: each of the best with each fresh seed.

    Args:
        records: of the search; their seeds are not used again.
        candidates: how many of the best completed ones; None: none.
        seeds: of each; None: `SEEDS`.
    """
    searched = {record.name: record for record in records if not record.confirms}
    best = ranking(searched.values())[: candidates or 0]
    used = {record.config.seed for record in searched.values()}

    def is_fresh(seed: int) -> bool:
        names = {confirming_name(record.name, seed) for record in best}
        return seed not in used and not names & searched.keys()

    fresh = list(islice(filter(is_fresh, count(FIRST_SEED)), seeds or SEEDS))
    return {
        made.name: made for record in best for made in (_with_seed(record, seed) for seed in fresh)
    }


def confirming_name(name: str, seed: int) -> str:
    """Return the name of the trial that trains `name` with that seed.

    A name that is too long is cut and gets a digest, so that no two trials share one.
    """
    ending = f"-seed{seed}"
    if len(name + ending) > LONGEST_NAME:
        ending = f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}{ending}"
    return name[: LONGEST_NAME - len(ending)] + ending


def _with_seed(record: TrialRecord, seed: int) -> TrialRecord:
    name = confirming_name(record.name, seed)
    config = dataclasses.replace(record.config, experiment_name=name, seed=seed)
    return TrialRecord(config, resources=record.resources, confirms=record.name)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A trial of the search, and its scores with fresh seeds.

    Attributes:
        scores: the metric by seed.
        failed: seeds that ended without a score.
        mode: "max" or "min", the direction of better scores.
    """

    name: str
    scores: Mapping[int, float]
    failed: Sequence[int] = ()
    mode: str = "max"

    @property
    def mean(self) -> float:
        """The mean score; NaN if every seed failed."""
        return fmean(self.scores.values()) if self.scores else math.nan

    @property
    def standing(self) -> tuple[int, float]:
        """The rank key, higher is better: fewer failures first, then the mean."""
        return -len(self.failed), score_of(self.mean, self.mode) if self.scores else -math.inf

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON's entry."""
        values = list(self.scores.values())
        return {
            "experiment_name": self.name,
            "mean": self.mean if self.scores else None,
            "std": stdev(values) if len(values) > 1 else None,
            "interval": list(bootstrap_mean(values)) if values else None,
            "scores": {str(seed): value for seed, value in self.scores.items()},
            "failed_seeds": list(self.failed),
        }


def candidates(records: Iterable[TrialRecord]) -> list[Candidate]:
    """Return the confirmed trials, best first: fewest failed seeds, then the best mean.

    If some seeds fail, the mean of the others is of fewer values and biased.
    """
    confirming: dict[str, list[TrialRecord]] = {}
    for record in records:
        if record.confirms:
            confirming.setdefault(record.confirms, []).append(record)
    found = [_candidate(name, each) for name, each in confirming.items()]
    return sorted(found, key=lambda candidate: candidate.standing, reverse=True)


def _candidate(name: str, confirming: Sequence[TrialRecord]) -> Candidate:
    done = [record for record in confirming if record.status == "completed" and record.best]
    over = [record.config.seed for record in confirming if record.status in FINISHED]
    scores = {record.config.seed: record.best[record.metric.name] for record in done}
    lower = any(record.metric.mode == "min" for record in done)
    failed = [seed for seed in over if seed not in scores]
    return Candidate(name, scores, failed, "min" if lower else "max")


def lead_of(first: Candidate, second: Candidate) -> Lead | None:
    """Compare two candidates over the seeds that both have; None if there are none."""
    both = [seed for seed in first.scores if seed in second.scores]
    if not both:
        return None
    of_first, of_second = (
        [score_of(each.scores[seed], each.mode) for seed in both] for each in (first, second)
    )
    return paired_lead(of_first, of_second)


def winner(records: Sequence[TrialRecord], table: pd.DataFrame | None = None) -> TrialRecord | None:
    """Return the first of `candidates` if the best were confirmed, else the best of the search.

    None if no trial completed.

    Args:
        table: of these trials, by `trials_table` (default: it is computed).
    """
    ranked = ranking(records, table)
    confirming = [record for record in records if record.confirms]
    if confirming and all(record.status in FINISHED for record in confirming):
        first = candidates(records)[0]
        if first.scores:
            return next(record for record in ranked if record.name == first.name)
    return ranked[0] if ranked else None


def confirmation(
    records: Sequence[TrialRecord], targets: Mapping[str, float]
) -> dict[str, Any] | None:
    """Return the JSON's `confirmation`; None if nothing was confirmed.

    Returns:
        `metric` (of the scores), `seeds`, `candidates` (best first, each with `mean`, `std`,
        `interval` (95 % bootstrap of the mean), `scores` by seed and `failed_seeds`), `complete`,
        `results` (an entry per trial, as in `all_results`), and the `verdict` in words. Once
        complete also `winner`, `runner_up`, `lead` (over the seeds that both have; > 0 if the
        winner is better, also for a loss), `p_value` (of `test`) and `within_noise`.
    """
    confirming = [record for record in records if record.confirms]
    if not confirming:
        return None
    ordered = candidates(records)
    done = [record for record in confirming if record.status in FINISHED]
    complete = len(done) == len(confirming)
    under_way = f"In progress: {len(done)} of {len(confirming)} runs with fresh seeds are done."
    return {
        "metric": confirming[0].metric.name,
        "seeds": sorted({record.config.seed for record in confirming}),
        "candidates": [candidate.to_dict() for candidate in ordered],
        "complete": complete,
        **(_comparison(ordered) if complete else {"verdict": under_way}),
        "results": results_of(done, trials_table(done, targets), targets),
    }


def _comparison(ordered: Sequence[Candidate]) -> dict[str, Any]:
    first, second = ordered[0], ordered[1] if len(ordered) > 1 else None
    lead = lead_of(first, second) if second else None
    return {
        "winner": first.name if first.scores else None,
        "runner_up": second.name if second else None,
        "lead": lead.difference if lead else None,
        "p_value": lead.p_value if lead else None,
        "test": TEST,
        "within_noise": lead.is_noise if lead else None,
        "verdict": " ".join([verdict(first, second, lead), *_failures(ordered)]),
    }


def verdict(first: Candidate, second: Candidate | None, lead: Lead | None) -> str:
    """Say in a sentence whether the winner's lead is more than noise."""
    if not first.scores:
        return "No trial completed with another seed, so nothing is confirmed."
    if second is None:
        return f"Only {first.name} was confirmed, so there is no trial to compare it with."
    if lead is None:
        return f"{first.name} and {second.name} completed no seed in common: no comparison."
    seeds = f"{lead.pairs} seed{'s' if lead.pairs > 1 else ''}"
    if lead.difference < 0:
        why = "failed less often" if len(first.failed) < len(second.failed) else "has the best mean"
        return (
            f"{first.name} {why}, but {second.name} is {-lead.difference:.4f} ahead in the mean "
            f"of the {seeds} that both completed."
        )
    ahead = f"{first.name} is {lead.difference:.4f} ahead of {second.name} in the mean"
    if lead.p_value is None:
        return f"{ahead}; {seeds} cannot tell the lead from noise."
    result = f"{TEST} over {seeds}, p = {lead.p_value:.2g}"
    if lead.is_noise:
        return f"{ahead}; the lead is within noise ({result})."
    return f"{ahead}; the lead is significant at the {SIGNIFICANT:.0%} level ({result})."


def _failures(ordered: Sequence[Candidate]) -> list[str]:
    """Return a sentence about failed seeds, if any trial completed."""
    if not ordered[0].scores:
        return []
    failures = [
        f"{each.name} with {len(each.failed)} of {len(each.failed) + len(each.scores)} seeds"
        for each in ordered
        if each.failed
    ]
    return [f"Failed: {'; '.join(failures)}."] if failures else []
