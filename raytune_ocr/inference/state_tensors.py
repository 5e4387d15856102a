"""A state of tensors and plain values as named tensors and a JSON text, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from raytune_ocr.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

TENSOR, MAPPING, LIST, TUPLE, VALUE, BYTES = "tensor", "mapping", "list", "tuple", "value", "bytes"


def split_state(state: Any) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a state by their paths, and a JSON that says where they belong."""
    tensors: dict[str, Tensor] = {}
    return tensors, json.dumps(_split(state, "", tensors))


def _split(value: Any, path: str, tensors: dict[str, Tensor]) -> list[Any]:
    if isinstance(value, torch.Tensor):
        name = path or TENSOR
        while name in tensors:  # keys 1 and "1" have one path
            name += "_"
        tensors[name] = value.detach().cpu().clone().contiguous()
        return [TENSOR, name]
    if isinstance(value, Mapping):
        parts = [(key, _split(v, f"{path}.{key}".lstrip("."), tensors)) for key, v in value.items()]
        return [MAPPING, [[_split(key, "", tensors), part] for key, part in parts]]
    if isinstance(value, (list, tuple)):
        kind = TUPLE if isinstance(value, tuple) else LIST
        named = ((f"{path}.{number}".lstrip("."), each) for number, each in enumerate(value))
        return [kind, [_split(each, name, tensors) for name, each in named]]
    if isinstance(value, bytes):
        return [BYTES, value.hex()]
    return [VALUE, value]


def join_state(tensors: Mapping[str, Tensor], text: str, path: object) -> Any:
    """Return the state that `split_state` took apart.

    Raises:
        CheckpointError: the text is anything else, or a tensor is missing; names the file.
    """
    try:
        return _join(json.loads(text), tensors)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: its metadata does not say where its tensors belong ({error!r}); export the "
            "model again"
        ) from None


def _join(part: Any, tensors: Mapping[str, Tensor]) -> Any:
    kind, content = part
    if kind == TENSOR:
        return tensors[content]
    if kind == MAPPING:
        return {_join(key, tensors): _join(value, tensors) for key, value in content}
    if kind in (LIST, TUPLE):
        values = [_join(each, tensors) for each in content]
        return tuple(values) if kind == TUPLE else values
    if kind == BYTES:
        return bytes.fromhex(content)
    if kind == VALUE:
        return content
    raise ValueError(f"unknown kind {kind!r}")
