"""Models of a user's own task: loaded by the task's `load_model`, exported, and used to predict."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raytune_ocr.config.metrics import task_name
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.config.yaml_files import load_yaml
from raytune_ocr.errors import CheckpointError, ConfigurationError
from raytune_ocr.files import replacing
from raytune_ocr.inference.formats import CARD, CONFIG, ONNX, WEIGHTS, needed, without_own_paths
from raytune_ocr.inference.reading import Reading
from raytune_ocr.inference.state_tensors import join_state, split_state
from raytune_ocr.plugins import check_trusted, import_modules
from raytune_ocr.tasks.base import Task
from raytune_ocr.tasks.function_callbacks import BEST_FILES
from raytune_ocr.tasks.registry import task_of
from raytune_ocr.training.checkpoints.state_files import read_state

STATE = "state"
"""Key of a checkpoint of a training function, and of an export's metadata: what it has saved."""

FILES = "files"
"""The folder of an export with the files that a training has saved."""

TOLERANCE = 1e-3
"""Largest difference between ONNX and PyTorch that an export may have, of outputs of size 1."""


@dataclass(frozen=True)
class OwnModel:
    """What a training of one's own has left.

    Attributes:
        path: its file.
        state: what was saved in the best epoch.
        folder: with the files that were saved, or None.
        metrics: of that epoch.
    """

    path: Path
    config: TrainingConfig
    state: Any
    folder: Path | None
    metrics: Mapping[str, float]

    @property
    def task(self) -> Task:
        """What it was trained by."""
        return task_of(self.config)

    def load(self) -> Any:
        """The model, by the task's `load_model`.

        Raises:
            ConfigurationError: the task has none, or it raised.
        """
        try:
            return self.task.load_model(self.config, self.state, self.folder)
        except (ConfigurationError, MemoryError):
            raise
        except Exception as error:  # of a user's code
            raise ConfigurationError(f"{self.path}: load_model: {error!r}") from error

    def predict(self, files: Sequence[Path]) -> Iterator[Reading]:
        """Readings of files, by the task's `predict`."""
        answers = self.task.predict(self.config, self.load(), files)
        for file, answer in zip(files, answers, strict=True):
            text, confidence = answer if isinstance(answer, tuple) else (answer, 1.0)
            yield Reading(str(file), str(text), float(confidence))


def find_own(path: Path, imports: Sequence[str] = ()) -> OwnModel | None:
    """Return the model of a user's own task; None of a reader or an image classifier.

    Args:
        path: a checkpoint or the safetensors of an export.
        imports: modules to import first; those that the file names are not imported.

    Raises:
        CheckpointError: the file is damaged.
        ConfigurationError: it needs a module that is not imported; names it.
    """
    if path.suffix == ".onnx":
        return None
    if path.suffix != ".safetensors":
        return _in_checkpoint(path, imports)
    beside = path.with_name(CONFIG)
    if not (beside.is_file() and path.is_file()):
        return None
    config = TrainingConfig.from_dict(load_yaml(beside), environment={})
    if not _is_own(config):
        return None
    _import(config, imports, beside)
    return OwnModel(path, config, _exported_state(path), _if_folder(path.with_name(FILES)), {})


def _in_checkpoint(path: Path, imports: Sequence[str]) -> OwnModel | None:
    state = read_state(path)
    if not isinstance(state.get("config"), Mapping):
        return None
    config = TrainingConfig.from_dict(state["config"], environment={})
    if not _is_own(config):
        return None
    _import(config, imports, path)
    saved = state[STATE] if STATE in state else state.get("model_state_dict")
    folder = _if_folder(path.parent / BEST_FILES)
    return OwnModel(path, config, saved, folder, dict(state.get("metrics") or {}))


def _is_own(config: TrainingConfig) -> bool:
    return task_name(vars(config)) not in ("reader", "classifier")


def _if_folder(path: Path) -> Path | None:
    return path if path.is_dir() else None


def _import(config: TrainingConfig, imports: Sequence[str], source: Path) -> None:
    import_modules(imports)
    check_trusted(config.imports, imports, str(source))
    import_modules(config.imports)


def _exported_state(path: Path) -> Any:
    library = needed("safetensors")
    try:
        with library.safe_open(str(path), "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            about = file.metadata() or {}
    except Exception as error:  # the library has a class of its own for each damage
        raise CheckpointError(f"{path}: {error}") from None
    return join_state(tensors, about.get(STATE, ""), path)


# Export


def export_own(model: OwnModel, output: Path, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Write the saved state as safetensors, the saved files, config and card, and ONNX if it can.

    Args:
        say: takes lines of text.

    Returns:
        `files`: names of what was written; `onnx`: why there is no ONNX, or "".
    """
    save_file = needed("safetensors.torch").save_file
    output.mkdir(parents=True, exist_ok=True)
    tensors, skeleton = split_state(model.state)
    with replacing(output / WEIGHTS) as aside:
        save_file(tensors, str(aside), {STATE: skeleton})
    without_own_paths(model.config).save_yaml(output / CONFIG)
    files = [WEIGHTS, CONFIG]
    if model.folder is not None:
        shutil.rmtree(output / FILES, ignore_errors=True)
        shutil.copytree(model.folder, output / FILES)
        files.append(FILES)
    (output / ONNX).unlink(missing_ok=True)  # of an earlier export
    why = _write_onnx(model, output / ONNX)
    files += [] if why else [ONNX]
    say(f"{output / ONNX}: {why}" if why else f"{output / ONNX}: computes as PyTorch does")
    with replacing(output / CARD) as aside:
        aside.write_text(_card(model, files, why), encoding="utf-8")
    return {"files": [*files, CARD], "onnx": why}


def _write_onnx(model: OwnModel, path: Path) -> str:
    """Write the model as ONNX; return why that cannot be done, "" where it was."""
    inputs = model.task.example_inputs(model.config)
    if inputs is None:
        return "not written: the task gives no example_inputs"
    network = model.load()
    if not isinstance(network, torch.nn.Module):
        return (
            f"not written: load_model must return a torch.nn.Module, got {type(network).__name__}"
        )
    for module in ("onnx", "onnxscript", "onnxruntime"):
        needed(module)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    batch = torch.export.Dim("batch")
    try:
        program = torch.onnx.export(
            network.eval(),
            tuple(inputs),
            dynamo=True,
            verbose=False,
            dynamic_shapes=tuple({0: batch} for _ in inputs),
        )
        with replacing(path) as aside:
            needed("onnx").save(program.model_proto, str(aside))  # type: ignore[union-attr]
        difference = _difference(network, path, inputs)
    except Exception as error:  # of a user's model, or of the exporter
        path.unlink(missing_ok=True)
        return f"not written: {type(error).__name__}: {str(error).splitlines()[0]}"
    if difference <= TOLERANCE:
        return ""
    path.unlink()
    return f"not written: it differs from PyTorch by {difference:.3g}"


def _difference(network: Any, path: Path, inputs: Sequence[Any]) -> float:
    """The largest difference of an output, by the size of the outputs where that is above 1."""
    session = needed("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    found = session.run(None, dict(zip(names, (i.numpy() for i in inputs), strict=True)))
    with torch.inference_mode():
        wanted = network(*inputs)
    outputs = wanted if isinstance(wanted, (tuple, list)) else [wanted]
    pairs = [(a, b.numpy()) for a, b in zip(found, outputs, strict=True)]
    return max(float(np.abs(a - b).max() / max(1.0, np.abs(b).max())) for a, b in pairs)


def _card(model: OwnModel, files: Sequence[str], why: str) -> str:
    config = model.config
    trained_by = config.trainable or config.task
    metrics = "\n".join(f"| `{name}` | {value:.6g} |" for name, value in model.metrics.items())
    parameters = "\n".join(f"| `{n}` | {value} |" for n, value in config.parameters.items())
    onnx = f"`{ONNX}`: {why}." if why else f"`{ONNX}` computes as PyTorch does."
    return (
        f"# {config.experiment_name}\n\nTrained by `{trained_by}`; `{CONFIG}` has every setting. "
        f"Best epoch by `{config.early_stopping_monitor}` ({config.early_stopping_mode}).\n\n"
        f"    python -m raytune_ocr.predict THIS_FOLDER FILES --import {trained_by.split(':')[0]}\n"
        f"\n## Metrics of the best epoch\n\n| metric | value |\n|---|---|\n{metrics}\n"
        f"\n## Parameters\n\n| parameter | value |\n|---|---|\n{parameters}\n"
        f"\n## Files\n\n{', '.join(f'`{name}`' for name in files)}. {onnx}\n"
    )
