"""Decode image files with threads; skip, name and count a few unreadable ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from raytune_ocr.data.tables import shortened_lines
from raytune_ocr.errors import DataLoaderError

logger = logging.getLogger(__name__)

BAD_SHARE = 0.01  # of a split may be unreadable
BLANKS_SHOWN = 3
Item = TypeVar("Item")


def decode_all(
    items: Sequence[Item],
    decode: Callable[[Item], np.ndarray | str],
    what: str,
    num_workers: int = 0,
) -> tuple[np.ndarray, list[int]]:
    """Return the images of `items`, uint8 [N, ...], and the positions of the readable ones.

    Args:
        decode: returns an image, or the problem with the file.
        what: the split, for messages.
        num_workers: threads that decode.

    Raises:
        DataLoaderError: more than 1 % cannot be read.
    """
    with ThreadPoolExecutor(max_workers=max(1, num_workers)) as threads:
        decoded = list(threads.map(decode, items))
    bad = [problem for problem in decoded if isinstance(problem, str)]
    if len(bad) > BAD_SHARE * len(items):
        raise DataLoaderError(
            f"{what}: at most {100 * BAD_SHARE:g} % of the images may be unreadable, got "
            f"{len(bad)} of {len(items)}:\n{shortened_lines(bad)}"
        )
    for problem in bad:
        logger.warning("skipped %s", problem)
    if bad:
        logger.warning("%s: skipped %d of %d images", what, len(bad), len(items))
    good = [at for at, image in enumerate(decoded) if not isinstance(image, str)]
    images = np.stack([decoded[at] for at in good])  # type: ignore[misc]
    return images, good


def warn_of_blanks(images: np.ndarray, names: Sequence[object], what: str) -> None:
    """Log how many labelled images, uint8 [N, ...], have a single colour."""
    flat = images.reshape(len(images), -1)
    blank = np.flatnonzero(flat.min(axis=1) == flat.max(axis=1))
    if len(blank):
        shown = ", ".join(str(names[at]) for at in blank[:BLANKS_SHOWN])
        logger.warning(
            "%s: %d of %d images are blank: %s%s",
            what,
            len(blank),
            len(images),
            shown,
            ", ..." if len(blank) > BLANKS_SHOWN else "",
        )
