"""Import it into a run (`--import first_batch`): it notes when the first batch was trained.

It imports nothing of the package, so that it runs with any revision.
"""

import os
import time
from pathlib import Path
from typing import Any

import torch

_backward = torch.Tensor.backward


def _noting(*arguments: Any, **keywords: Any) -> None:
    _backward(*arguments, **keywords)
    torch.Tensor.backward = _backward  # type: ignore[method-assign]
    Path(os.environ["FIRST_BATCH"], str(os.getpid())).write_text(str(time.time()))


torch.Tensor.backward = _noting  # type: ignore[method-assign,assignment]
