"""Files of tensors and plain values: written aside and replaced, never unpickled freely.

Each carries a digest over everything that it holds, taken of the values and not of the file. The
checksums of a ZIP archive cover the content of its members alone: a flipped bit in its directory
can make a reader take a member for an empty folder and load whatever is in memory.
"""

from __future__ import annotations

import hashlib
import io
import operator
import os
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raytune_ocr.config.rules import shown
from raytune_ocr.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    ConfigurationError,
    IncompleteCheckpointError,
)
from raytune_ocr.files import naming_disk_full, replacing

DIGEST = "digest"  # of all other entries
PLAIN = (str, int, float, bool, bytes, type(None))
MOST_UNWRITTEN = 2**26  # bytes of a tensor that a file may leave out, as of an expanded one


def write_state(
    path: str | os.PathLike[str], state: Mapping[str, Any], *, aside: bool = True
) -> None:
    """Write tensors and plain values with their digest.

    NumPy's numbers become Python's and its arrays tensors, named tuples become tuples.

    Args:
        aside: write a temporary file, flush it to the disk and then replace `path`, which holds
            the old state or the new one, never half. Without it, `path` must be nobody's yet.

    Raises:
        ConfigurationError: for a value that `read_state` could not read.
    """
    content = _plain(dict(state))
    content[DIGEST] = digest_of(content)
    if not aside:
        with naming_disk_full(path):
            torch.save(content, path)
        return
    with replacing(path) as temporary:
        torch.save(content, temporary)


def read_state(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `write_state` wrote, with `weights_only=True`, and compare its digest.

    A file without a digest, as earlier versions wrote them, is checked by its ZIP checksums alone.

    Raises:
        CheckpointNotFoundError: when there is no such file.
        CheckpointError: when it is truncated, altered or no checkpoint.
    """
    if not Path(path).is_file():
        raise CheckpointNotFoundError(f"{path}: no such checkpoint")
    try:
        _check_archive(path)
        state = torch.load(path, map_location=device, weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # zipfile and torch raise many kinds for damaged bytes
        reason = (str(error) or repr(error)).splitlines()[0]
        raise CheckpointError(f"{path}: damaged or not a checkpoint: {reason}") from error
    if not isinstance(state, dict):
        raise CheckpointError(
            f"{path}: not a checkpoint: must be a mapping, got {type(state).__name__}"
        )
    written = state.pop(DIGEST, None)
    _check_tensors(state, path)
    if written is not None and written != digest_of(state):
        raise CheckpointError(f"{path}: damaged (what is loaded differs from what was written)")
    return state


def _check_archive(path: str | os.PathLike[str]) -> None:
    """Raise CheckpointError for wrong checksums, or parts that are larger than the file."""
    with zipfile.ZipFile(path) as archive:
        size, parts = Path(path).stat().st_size, sum(p.file_size for p in archive.infolist())
        if parts > size:  # compressed or overlapping, which `write_state` does not write
            raise CheckpointError(
                f"{path}: its parts must not be larger than the file of {size:,} bytes, got "
                f"{parts:,} bytes"
            )
        if damaged := archive.testzip():
            raise CheckpointError(f"{path}: damaged (the checksum of {damaged} differs)")


def _check_tensors(value: Any, path: str | os.PathLike[str]) -> None:
    """Raise CheckpointError for a tensor that needs far more memory than the file has bytes."""
    if isinstance(value, Tensor):
        most = Path(path).stat().st_size + MOST_UNWRITTEN
        if value.numel() * value.element_size() > most:
            raise CheckpointError(
                f"{path}: a tensor must have at most {most:,} bytes in a file of this size, got "
                f"the shape {list(value.shape)} of {value.dtype}"
            )
    elif isinstance(value, Mapping):
        for item in value.values():
            _check_tensors(item, path)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_tensors(item, path)


def part_of(state: Mapping[str, Any], name: str, path: str | os.PathLike[str] = "") -> Any:
    """`state[name]`.

    Raises:
        IncompleteCheckpointError: when it is absent; names what there is.
    """
    if name not in state:
        there = ", ".join(map(str, state)) or "nothing"
        raise IncompleteCheckpointError(f"{path or 'checkpoint'}: must have {name}, has {there}")
    return state[name]


def _plain(value: Any, place: str = "") -> Any:
    """`value` as tensors and plain values, which `weights_only` loads.

    Args:
        place: the keys that lead to it, for messages.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return torch.tensor(value)
    if isinstance(value, Mapping):
        items = {
            _plain(k): _plain(v, f"{place}.{k}" if place else str(k)) for k, v in value.items()
        }
        same = all(map(operator.is_, items.values(), value.values()))
        return value if same and type(value) is OrderedDict else items  # a model's has metadata
    if type(value) is list:
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if type(value) is tuple or hasattr(value, "_fields"):
        return tuple(_plain(item, f"{place}[{index}]") for index, item in enumerate(value))
    if not (type(value) in PLAIN or isinstance(value, Tensor) or _is_readable(value)):
        raise ConfigurationError(
            f"{place}: must be a tensor, a plain value, or a mapping or list of these to be loaded "
            f"again, got {shown(value)}; save its state_dict() or its text"
        )
    return value


def _is_readable(value: Any) -> bool:
    """Whether a checkpoint that holds `value` can be read again."""
    content = io.BytesIO()
    try:
        torch.save(value, content)
        content.seek(0)
        torch.load(content, weights_only=True)
    except Exception:  # pickle and torch raise many kinds
        return False
    return True


def digest_of(state: Any) -> str:
    """SHA-256, in hexadecimal, of tensors and plain values in any nesting.

    The same for equal values on every device; the order of keys counts.
    """
    sha = hashlib.sha256()
    _add(state, sha.update)
    return sha.hexdigest()


def _add(value: Any, update: Callable[[bytes], None]) -> None:
    """Add one value: its kind and size first, so that no two structures give the same bytes."""
    if isinstance(value, Tensor):
        update(f"tensor {value.dtype} {list(value.shape)} ".encode())
        update(_bytes_of(value))
    elif isinstance(value, Mapping):
        update(f"mapping {len(value)} ".encode())
        for key, item in value.items():
            _add(key, update)
            _add(item, update)
    elif isinstance(value, (list, tuple)):
        update(f"list {len(value)} ".encode())
        for item in value:
            _add(item, update)
    elif isinstance(value, float):
        update(b"float " + struct.pack("<d", value))
    else:
        text = repr(value).encode("utf-8", "surrogatepass")
        update(f"{type(value).__name__} {len(text)} ".encode() + text)


def _bytes_of(tensor: Tensor) -> Any:
    """The elements in row order; of layouts other than strided ones, the dense elements."""
    plain = tensor.detach().cpu()
    if plain.is_quantized:
        plain = plain.int_repr()
    dense = plain.to_dense() if plain.layout is not torch.strided else plain
    return dense.contiguous().reshape(-1).view(torch.uint8).numpy()
