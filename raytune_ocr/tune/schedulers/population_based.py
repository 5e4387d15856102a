"""Population-based training: the worst trials make room for copies of the best, somewhat changed.

Jaderberg et al., "Population Based Training of Neural Networks" (2017). All trials train for an
interval of epochs. Then each of the worst quarter is stopped, and a new trial goes on in its place
from the state of one of the best quarter, with other settings from there on.

Trials wait for each other at the end of an interval. So what is decided depends on their figures
and the seed alone, not on how many run at a time, which is fast, or where a run was resumed.

The config of a trial that was begotten so is its parent's with one more of its `changes`: trained
from the start, it would be the same to the last bit. Copying the parent's state only saves time;
where that state is lost, or in a storage that the driver does not reach, nothing else is.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from raytune_ocr.config.rules import CHANGEABLE
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.journal import STATE_FILE, KeptTrial
from raytune_ocr.results.journal_schema import GENERATION
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.schedulers.synchronous import Fronts
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.selection.confirmation import LONGEST_NAME
from raytune_ocr.tune.space.domains import DIGITS, Domain
from raytune_ocr.tune.space.search_space import Space

SHARE = 4  # one in so many is replaced, and as many of the best may be copied
REDRAWN = 0.25  # how often a searched setting is drawn anew instead of changed a little
FACTORS = (0.8, 1.2)
USUAL = ("learning_rate", "weight_decay")  # changed where no setting that can be is searched


class Population(Fronts):
    """Trials that are drawn at random, trained an interval at a time, and replaced.

    Args:
        interval: epochs until they are compared, and from each time to the next.

    The others are those of `Fronts`. `max_trials` counts those that are begotten as well: with
    none left, nobody is replaced.
    """

    kind = GENERATION

    def __init__(
        self,
        space: Space,
        known: KnownPoints | None = None,
        max_trials: int | None = None,
        decisions: Iterable[Mapping[str, Any]] = (),
        *,
        interval: int,
    ) -> None:
        super().__init__(space, known, max_trials, decisions)
        self.interval = interval

    @property
    def front(self) -> int:
        """The epoch at which trials wait for each other next."""
        return self.last_front + self.interval

    def decide(self, records: Mapping[str, TrialRecord]) -> dict[str, Any] | None:
        """What becomes of those at the front; None while some are on their way to it.

        Returns:
            `epoch`, and `heirs`: of each its `name`, its `parent`, the trial `instead_of` which it
            comes, and `settings` that it has from `epoch` on.
        """
        ranked = self.ranked(records, self.interval)
        if not ranked:
            return None
        count = max(1, len(ranked) // SHARE) if len(ranked) > 1 else 0
        count = min(count, self._room(records))
        heirs: list[dict[str, Any]] = []
        for worst in reversed(ranked[len(ranked) - count :]):
            rng = random.Random(f"{self.space.seed}/{GENERATION}/{self.front}/{worst.name}")
            parent = rng.choice(ranked[:count])
            if self.score(parent, self.interval) > self.score(worst, self.interval):
                taken = {*records, *(heir["name"] for heir in heirs)}
                heirs.append(
                    {
                        "name": heir_name(parent, len(self.decisions) + 1, taken),
                        "parent": parent.name,
                        "instead_of": worst.name,
                        "settings": self._changed(parent, rng),
                    }
                )
        return {"epoch": self.front, "heirs": heirs}

    def _room(self, records: Mapping[str, TrialRecord]) -> int:
        """How many trials the run may still have."""
        begun = sum(not record.confirms for record in records.values())
        return len(records) if self.max_trials is None else max(0, self.max_trials - begun)

    def _changed(self, parent: TrialRecord, rng: random.Random) -> dict[str, Any]:
        """Settings near those of `parent`: the searched ones among those that can be changed."""
        now = parent.config.after(self.front)
        experiment = self.space.experiments.get(parent.search)
        domains = experiment.domains if experiment else {}
        searched = [name for name in CHANGEABLE if name in domains and name in parent.sampled]
        return {
            name: changed(name, now, domains.get(name), rng) for name in searched or list(USUAL)
        }

    # Heirs

    def restored(self, kept: Mapping[str, KeptTrial]) -> list[TrialRecord]:
        """Those that earlier parts of the run begot, without their epochs.

        Raises:
            ConfigurationError: the state tells of one that cannot be.
        """
        records = {record.name: record for record in self._all()}
        heirs = []
        for generation in self.decisions:
            for heir in generation["heirs"]:
                if heir["parent"] not in records:
                    continue
                try:
                    record = heir_of(records[heir["parent"]], heir, generation["epoch"])
                except ConfigurationError as error:
                    place = f"{STATE_FILE}: generation.heirs.{heir['name']}"
                    raise ConfigurationError(f"{place}: {error}") from None
                records[record.name] = record
                heirs.append(record)
        return heirs


def heir_of(parent: TrialRecord, heir: Mapping[str, Any], epoch: int) -> TrialRecord:
    """The record of a trial that goes on as `parent` did until `epoch`, then with its settings."""
    changes = {change["after_epoch"]: dict(change) for change in parent.config.changes}
    changes[epoch] = {**changes.get(epoch, {}), "after_epoch": epoch, **heir["settings"]}
    config = replace(
        parent.config,
        experiment_name=heir["name"],
        changes=[changes[after] for after in sorted(changes)],
    )
    return TrialRecord(
        config,
        search=parent.search,
        sampled=dict(parent.sampled),
        resources=parent.resources,
        parent=parent.name,
        parent_epoch=epoch,
    )


def inherit(child: TrialRecord, parent: TrialRecord) -> None:
    """Give a new trial the epochs that it has in common with its parent."""
    for row in parent.epochs:
        if row["epoch"] <= child.parent_epoch:
            child.add(row)
    child.used = dict(parent.used)


def heir_name(parent: TrialRecord, generation: int, taken: Iterable[str]) -> str:
    """`reader_0007_g2` of `reader_0007`, and `reader_0007_g3` of that; never one that is taken."""
    root = re.sub(r"_g\d+(_\d+)?$", "", parent.name) if parent.parent else parent.name
    number = 1
    while True:
        ending = f"_g{generation}" + (f"_{number}" if number > 1 else "")
        name = root[: LONGEST_NAME - len(ending)] + ending
        if name not in taken:
            return name
        number += 1


def changed(name: str, now: TrainingConfig, domain: Domain | None, rng: random.Random) -> Any:
    """A value near the one that `now` has: 0.8 or 1.2 times as much, or drawn from its domain."""
    redrawn = rng.random() < REDRAWN
    factor = rng.choice(FACTORS)
    value = getattr(now, name)
    if domain is None:
        value = float(f"{value * factor:.{DIGITS}g}")
    else:
        value = domain.draw(rng) if redrawn else domain.scaled(value, factor)
    return max(value, now.min_lr) if name == "learning_rate" else value
