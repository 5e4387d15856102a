"""Population-based training: copies of the best trials replace the worst, with other settings.

Jaderberg et al., "Population Based Training of Neural Networks" (2017). All trials train for an
interval of epochs. Then each of the worst quarter stops, and a new trial continues from the state
of one of the best quarter, with other settings.

The new trial has its parent's config with one more entry in `changes`: trained from the start, it
would be identical to the last bit. Copying the parent's state only saves time.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from raytune_ocr.config.rules import LONGEST_NAME
from raytune_ocr.tune.schedulers.base import CONTINUE, EXPLOIT, Decision, Setup, Trial, Trials
from raytune_ocr.tune.schedulers.synchronous import Synchronous
from raytune_ocr.tune.space.domains import DIGITS, Domain

SHARE = 4  # one trial in SHARE is replaced, and as many of the best are copied
REDRAWN = 0.25  # how often a searched setting is drawn anew instead of perturbed
FACTORS = (0.8, 1.2)
USUAL = ("learning_rate", "weight_decay")  # perturbed if no changeable setting is searched


class PopulationBased(Synchronous):
    """Compares trials every `grace_period` epochs and replaces the worst quarter.

    `max_trials` counts the copies too: when it is reached, no trial is replaced.
    """

    name: ClassVar[str] = "pbt"
    changes_settings: ClassVar[bool] = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.interval = setup.grace_period
        self.rungs = list(range(self.interval, setup.max_epochs, self.interval))
        self._generation = 0
        self._clones: set[str] = set()

    @property
    def milestone(self) -> int:
        """Return the epoch at the end of this interval."""
        return self.last_milestone + self.interval

    def decide(self, trials: Trials) -> list[Decision]:
        """Replace the worst quarter at the end of an interval."""
        epoch, generation = self.milestone, self._generation + 1
        ranked = self.ranked(trials, self.interval)
        pairs = self._pairs(ranked, trials)
        decisions = [
            self._decision(trial.name, epoch, CONTINUE)
            for trial in ranked
            if trial.name not in pairs
        ]
        taken = set(trials)
        for replaced, (parent, rng) in pairs.items():
            root = root_name(parent.name) if parent.name in self._clones else parent.name
            name = clone_name(root, generation, taken)
            taken.add(name)
            state = {
                "parent": parent.name,
                "replaces": replaced,
                "settings": self._perturbed(parent, epoch, rng),
            }
            decisions.append(self._decision(name, epoch, EXPLOIT, state))
        return decisions

    def apply(self, decision: Decision) -> None:
        """Move to the next interval."""
        self._generation += decision.epoch > self.last_milestone
        super().apply(decision)
        if decision.decision == EXPLOIT:
            self._clones.add(decision.trial)

    def keeps_name(self, name: str) -> bool:
        """Whether `name` ends as the names of clones do."""
        return root_name(name) != name

    def _pairs(self, ranked: list[Trial], trials: Trials) -> dict[str, tuple[Trial, random.Random]]:
        """Return, by replaced trial, the trial to copy and the generator of its settings."""
        count = max(1, len(ranked) // SHARE) if len(ranked) > 1 else 0
        if self.setup.max_trials is not None:
            count = min(count, max(0, self.setup.max_trials - len(trials)))
        pairs = {}
        for worst in reversed(ranked[len(ranked) - count :]):
            seed = f"{self.setup.seed}/generation/{self.milestone}/{worst.name}"
            rng = random.Random(seed)
            parent = rng.choice(ranked[:count])
            if self.score(parent, self.interval) > self.score(worst, self.interval):
                pairs[worst.name] = (parent, rng)
        return pairs

    def _perturbed(self, parent: Trial, epoch: int, rng: random.Random) -> dict[str, Any]:
        """Perturb the searched settings of `parent` that can change."""
        now = parent.settings_after(epoch)
        domains = self.setup.domains.get(parent.search, {})
        searched = [
            name for name in self.setup.changeable if name in domains and name in parent.sampled
        ]
        return {name: perturbed(name, now, domains.get(name), rng) for name in searched or USUAL}


def root_name(clone: str) -> str:
    """Return `reader_0007` for `reader_0007_g2`."""
    return re.sub(r"_g\d+(_\d+)?$", "", clone)


def clone_name(root: str, generation: int, taken: Iterable[str]) -> str:
    """Return `reader_0007_g2` for `reader_0007`; never a taken name."""
    number = 1
    while True:
        ending = f"_g{generation}" + (f"_{number}" if number > 1 else "")
        name = root[: LONGEST_NAME - len(ending)] + ending
        if name not in taken:
            return name
        number += 1


def perturbed(name: str, now: Mapping[str, Any], domain: Domain | None, rng: random.Random) -> Any:
    """Return 0.8 or 1.2 times the present value, or a new draw from the domain."""
    redrawn = rng.random() < REDRAWN
    factor = rng.choice(FACTORS)
    if domain is None:
        value = float(f"{now[name] * factor:.{DIGITS}g}")
    else:
        value = domain.draw(rng) if redrawn else domain.scaled(now[name], factor)
    return max(value, now["min_lr"]) if name == "learning_rate" else value
