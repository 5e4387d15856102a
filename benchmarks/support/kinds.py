"""Learning curves drawn from a seed, each kind unlike the others: what a search may meet.

The best settings lie anywhere in the cube, its borders included, so that no method gains by trying
the middle first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.support.tables import UNIT, Table
from raytune_ocr.tune.space.domains import Domain

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator], tuple[Mapping[str, Domain], Array, Array]]
CONFIGS, EPOCHS = 1000, 50
EPOCH = np.arange(1.0, EPOCHS + 1.0)
KIND = Domain("choice", ("a", "b", "c"))


def drawn(kind: str, number: int) -> Table:
    """The task of that number of a kind; always the same."""
    rng = np.random.default_rng([number, *kind.encode()])
    domains, places, loss = KINDS[kind](rng)
    return Table(f"{kind}-{number}", places, loss, domains, kind)


def cube(rng: np.random.Generator, settings: int = 6) -> tuple[Mapping[str, Domain], Array]:
    """Domains and uniform places of configs [n, settings]."""
    return {f"x{i}": UNIT for i in range(settings)}, rng.uniform(size=(CONFIGS, settings))


def smooth(rng: np.random.Generator, x: Array, waves: int = 64) -> Array:
    """A random smooth function of the settings [n], of about mean 0 and variance 1."""
    settings = x.shape[1]
    frequency = rng.standard_t(5, (settings, waves)) / (0.6 * np.sqrt(settings / 4.0))
    phase = rng.uniform(0.0, 2.0 * np.pi, waves)
    return np.cos(x @ frequency + phase) @ rng.standard_normal(waves) * np.sqrt(2.0 / waves)


def ranked(values: Array) -> Array:
    """Values by their share of the rank, in (0, 1)."""
    return (np.argsort(np.argsort(values)) + 0.5) / len(values)


def bowl(rng: np.random.Generator, x: Array) -> Array:
    """Squared distance [n] from a point anywhere in the cube, about 1 in the mean."""
    return ((x - rng.uniform(size=x.shape[1])) ** 2).mean(1) * 6.0


def last_loss(rng: np.random.Generator, x: Array) -> Array:
    """Final losses in (0, 1) [n]: few good ones, most of them in one region."""
    return ranked(bowl(rng, x) + 0.6 * smooth(rng, x)) ** 0.7


def noise(rng: np.random.Generator, loss: Array, deviation: float) -> Array:
    """Losses with the noise of a validation set."""
    return loss + deviation * rng.standard_normal(loss.shape)


def power_laws(rng: np.random.Generator) -> tuple[Mapping[str, Domain], Array, Array]:
    """Error rates that fall as a power of the epoch, with noise."""
    domains, x = cube(rng)
    last = 0.03 + 0.5 * last_loss(rng, x)[:, None]
    rate = np.exp(-0.4 + 0.5 * smooth(rng, x))[:, None]
    return domains, x, noise(rng, last + (0.9 - last) * EPOCH**-rate, 0.01)


def late_crossing(rng: np.random.Generator) -> tuple[Mapping[str, Domain], Array, Array]:
    """The lower the loss at the end, the slower the way there."""
    domains, x = cube(rng)
    last = last_loss(rng, x)
    half = 1.0 + 18.0 * (1.0 - ranked(last + 0.15 * rng.standard_normal(CONFIGS)))
    fall = 1.0 / (1.0 + (EPOCH / half[:, None]) ** 2)
    level = 0.1 + 0.6 * last[:, None]
    return domains, x, noise(rng, level + (1.3 - level) * fall, 0.004)


def early_unlike_late(
    rng: np.random.Generator, reverse: bool
) -> tuple[Mapping[str, Domain], Array, Array]:
    """Early epochs that say nothing of late ones, or rank them the other way round."""
    domains, x = cube(rng)
    last = last_loss(rng, x)
    first = 1.0 - last if reverse else ranked(rng.uniform(size=CONFIGS))
    share = 1.0 / (1.0 + np.exp(-(EPOCH - rng.uniform(8.0, 25.0)) / 2.0))
    early, late = 1.0 + 0.3 * first[:, None], 0.1 + 0.85 * last[:, None]
    return domains, x, noise(rng, early * (1.0 - share) + late * share, 0.002)


def plateau(rng: np.random.Generator) -> tuple[Mapping[str, Domain], Array, Array]:
    """Many curves drop at once to a plateau; the good ones start above it and pass below late."""
    domains, x = cube(rng, 8)
    quick = x[:, 0] > rng.uniform(0.45, 0.6)
    off = ranked(np.abs(x[:, 0] - rng.uniform(0.0, 0.42)) * 3.0 + last_loss(rng, x))[:, None]
    drop = 1.0 / (1.0 + (EPOCH / (4.0 + 25.0 * off)) ** 3)
    level = 0.15 + 0.7 * off**0.6
    good = np.minimum(level + (1.55 - level) * drop, 1.02)
    flat = 0.6 + noise(rng, np.zeros((CONFIGS, 1)), 0.004) + 0.5 * np.exp(-1.5 * EPOCH)
    return domains, x, noise(rng, np.where(quick[:, None], flat, good), 0.001)


def diverging(rng: np.random.Generator) -> tuple[Mapping[str, Domain], Array, Array]:
    """Power laws; with a high first setting training ends in NaN, and the best are next to that."""
    domains, x, loss = power_laws(rng)
    loss = loss - 0.25 * np.minimum(x[:, :1], 0.7)
    risk = np.clip((x[:, 0] - 0.6) / 0.3, 0.0, 1.0) ** 1.5
    last = np.where(rng.uniform(size=CONFIGS) < risk, rng.geometric(0.15, CONFIGS), EPOCHS + 1)
    return domains, x, np.where(last[:, None] < EPOCH, np.nan, loss)


def one_decisive(rng: np.random.Generator) -> tuple[Mapping[str, Domain], Array, Array]:
    """One setting decides, seven are irrelevant."""
    domains, x = cube(rng, 8)
    off = np.abs(x[:, rng.integers(8)] - rng.uniform()) + 0.02 * rng.standard_normal(CONFIGS)
    last = 0.05 + 0.7 * ranked(off)[:, None] ** 0.5
    return domains, x, noise(rng, last + (1.0 - last) * np.exp(-EPOCH / 8.0), 0.004)


def conditional(rng: np.random.Generator) -> tuple[Mapping[str, Domain], Array, Array]:
    """A choice of three, each with two settings of its own, and three settings of all."""
    domains: dict[str, Domain] = {"kind": KIND}
    choice = rng.integers(3, size=CONFIGS)
    shared = rng.uniform(size=(CONFIGS, 3))
    columns, badness = [choice.astype(float)], np.empty(CONFIGS)
    for number, name in enumerate(KIND.values):
        own = np.where((choice == number)[:, None], rng.uniform(size=(CONFIGS, 2)), np.nan)
        when = (("kind", (name,)),)
        domains |= {f"{name}{i}": Domain("uniform", (0.0, 1.0), when=when) for i in range(2)}
        columns += list(own.T)
        x = np.concatenate([own, shared], axis=1)[choice == number]
        offset = 0.7 * rng.standard_normal()
        badness[choice == number] = 1.3 * bowl(rng, x) + 0.5 * smooth(rng, x) + offset
    domains |= {f"x{i}": UNIT for i in range(3)}
    last = 0.05 + 0.6 * ranked(badness)[:, None] ** 0.7
    rate = np.exp(-0.3 + 0.4 * rng.standard_normal(3))[choice][:, None]
    loss = noise(rng, last + (1.0 - last) * EPOCH**-rate, 0.006)
    return domains, np.column_stack([*columns, shared]), loss


def categorical(rng: np.random.Generator) -> tuple[Mapping[str, Domain], Array, Array]:
    """Power laws with three settings of four choices each, unordered, and three numbers."""
    choices = Domain("choice", ("a", "b", "c", "d"))
    numbers, x = cube(rng, 3)
    domains = {**{f"c{i}": choices for i in range(3)}, **numbers}
    picked = rng.integers(4, size=(CONFIGS, 3))
    effect = sum(rng.standard_normal(4)[column] for column in picked.T)
    last = 0.05 + 0.6 * ranked(bowl(rng, x) + 0.4 * effect)[:, None] ** 0.7
    rate = np.exp(-0.4 + 0.4 * smooth(rng, x))[:, None]
    loss = noise(rng, last + (0.95 - last) * EPOCH**-rate, 0.008)
    return domains, np.column_stack([picked.astype(float), x]), loss


KINDS: dict[str, Draw] = {
    "power-laws": power_laws,
    "late-crossing": late_crossing,
    "uninformative": partial(early_unlike_late, reverse=False),
    "reversed": partial(early_unlike_late, reverse=True),
    "plateau": plateau,
    "diverging": diverging,
    "one-decisive": one_decisive,
    "categorical": categorical,
    "conditional": conditional,
}
"""By name, what draws a task: domains, places [n, settings] and losses [n, epochs]."""
