"""The named architectures, and the rules of their settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from raytune_ocr.errors import ModelCreationError, unknown_name

Kind = Literal["attention", "ctc"]


@dataclass(frozen=True)
class Architecture:
    """The settings of a reader's architecture.

    Attributes:
        kind: `attention` answers position by position, `ctc` column by column.
        channels: of the convolution on the patches and of each one after it, 2 to 6; each
            halves the height, with patches of 2 pixels the first also the width.
        patch: pixels on a side of what an image is cut into at first, 2 or 4.
        blocks: residual convolutions before each halving, 0 to 4.
        temporal_width: features of a column, >= 1.
        dilations: one residual convolution along the columns each, in columns, each >= 1.
        hidden: features of an answer before its classes, >= 1 (attention only).
        dropout: share of features dropped while training, 0 <= p < 1.
        gradient_checkpointing: trade time for memory in the backward pass.
    """

    kind: Kind
    channels: tuple[int, ...] = (16, 32, 64, 64)
    temporal_width: int = 96
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    hidden: int = 96
    dropout: float = 0.0
    gradient_checkpointing: bool = False
    patch: int = 2
    blocks: int = 0

    def override(self, settings: Mapping[str, Any], place: str) -> Architecture:
        """This architecture with some settings changed.

        Args:
            settings: setting to value, as YAML or keywords give them.
            place: where they were written, for the messages.

        Raises:
            ModelCreationError: with every unknown setting and every broken rule, one a line.
        """
        problems = [
            f"{place}: {unknown_name('model setting', name, RULES)}"
            for name in settings
            if name not in RULES
        ]
        known = {name: _plain(settings[name]) for name in settings if name in RULES}
        problems += [
            f"{place}: {name}: must be {RULES[name][0]}, got {value!r}"
            for name, value in known.items()
            if not RULES[name][1](value)
        ]
        if problems:
            raise ModelCreationError("\n".join(problems))
        return dataclasses.replace(self, **known)

    def to_dict(self) -> dict[str, Any]:
        """Every setting by name, as plain values that YAML can hold."""
        values = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _counts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _many_counts(value: Any, least: int, most: int) -> bool:
    return isinstance(value, tuple) and least <= len(value) <= most and all(map(_counts, value))


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1


RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "channels": ("a list of 2 to 6 integers >= 1", lambda v: _many_counts(v, 2, 6)),
    "temporal_width": ("an integer >= 1", _counts),
    "dilations": ("a list of 1 to 16 integers >= 1", lambda v: _many_counts(v, 1, 16)),
    "hidden": ("an integer >= 1", _counts),
    "dropout": ("a number >= 0 and < 1", _is_share),
    "gradient_checkpointing": ("true or false", lambda v: isinstance(v, bool)),
    "patch": ("2 or 4", lambda v: v in (2, 4) and not isinstance(v, bool)),
    "blocks": ("an integer >= 0 and <= 4", lambda v: v == 0 or (_counts(v) and v <= 4)),
}
"""Settings that an override may change; `kind` belongs to the preset."""

PRESETS: dict[str, Architecture] = {
    "small": Architecture("attention"),
    "medium": Architecture(
        "attention", channels=(16, 32, 64, 96), temporal_width=128, dilations=(1, 2, 4, 8, 1)
    ),
    "large": Architecture(
        "attention",
        channels=(24, 48, 96, 128),
        temporal_width=192,
        dilations=(1, 2, 4, 8, 1, 2),
        hidden=192,
        dropout=0.1,
    ),
    "ctc_small": Architecture("ctc"),
    "ctc_medium": Architecture(
        "ctc",
        channels=(64, 96, 128),
        temporal_width=128,
        dilations=(1, 2, 4, 8, 1),
        patch=4,
        blocks=1,
    ),
}
ALIASES = {"ctc": "ctc_small"}
