"""Rungs of successive halving, ASHA and HyperBand."""

from __future__ import annotations


def rung_epochs(grace_period: int, reduction_factor: int, max_epochs: int) -> list[int]:
    """Return the epochs at which trials are compared.

    >>> rung_epochs(5, 3, 40)
    [5, 15]
    """
    rungs = []
    epoch = grace_period
    while epoch < max_epochs:
        rungs.append(epoch)
        epoch *= reduction_factor
    return rungs
