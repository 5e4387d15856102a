"""Write and load safetensors and ONNX."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.config.yaml_files import load_yaml
from raytune_ocr.errors import CheckpointError, ConfigurationError
from raytune_ocr.files import replacing
from raytune_ocr.inference.calibration import KEY, Calibration
from raytune_ocr.training.model_config import rebuild_model
from raytune_ocr.vocabulary import IMAGE_HEIGHT, IMAGE_WIDTH

WEIGHTS, CONFIG, ONNX, CARD = "model.safetensors", "config.yaml", "model.onnx", "README.md"


CLASSIFIER = "classifier"  # `kind` of a model that is no reader


EXTRA = 'pip install "raytune-ocr[export]"'


def needed(module: str) -> Any:
    """An optional module.

    Raises:
        ConfigurationError: when it is not installed; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(f"cannot import {module} ({error}); install it: {EXTRA}") from None


def write_safetensors(path: Path, model: nn.Module) -> None:
    """Write all weights and buffers by name, with the calibration in the metadata."""
    save_file = needed("safetensors.torch").save_file
    tensors = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
    with replacing(path) as aside:
        save_file(tensors, str(aside), _calibration_note(model))


def _calibration_note(model: nn.Module) -> dict[str, str]:
    """Return the metadata of a model's calibration."""
    calibration = getattr(model, KEY, None)
    return {KEY: calibration.to_text()} if isinstance(calibration, Calibration) else {}


def _take_calibration(model: Any, about: Mapping[str, str], path: Path) -> None:
    """Give a loaded model the calibration in its file's metadata; older exports have none."""
    if KEY in about:
        model.calibration = Calibration.from_text(about[KEY], path)


def load_safetensors(path: Path, imports: Sequence[str] = ()) -> nn.Module:
    """The model in a safetensors file beside its config.yaml, in evaluation mode.

    Args:
        imports: modules to import first; those that the config names are not imported.

    Raises:
        CheckpointError: when either file is missing, damaged, or they do not match.
        ConfigurationError: when the model needs a module that is not imported.
    """
    library = needed("safetensors")
    load_file = needed("safetensors.torch").load_file
    beside = path.with_name(CONFIG)
    for file in (path, beside):
        if not file.is_file():
            raise CheckpointError(f"{file}: does not exist; {WEIGHTS} needs {CONFIG} in its folder")
    try:
        config = TrainingConfig.from_dict(load_yaml(beside), environment={})
    except ConfigurationError as error:
        raise CheckpointError(f"{beside}: {str(error).removeprefix(f'{beside}: ')}") from None
    try:
        weights = load_file(str(path))
        with library.safe_open(str(path), "pt") as file:
            about = file.metadata() or {}
    except Exception as error:  # the library has many exception classes
        raise CheckpointError(f"{path}: not a complete safetensors file: {error}") from None
    model = rebuild_model(config, beside, imports, weights)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: does not match {beside}: {error}") from None
    _take_calibration(model, about, path)
    return model.eval()


def write_onnx(path: Path, model: nn.Module) -> None:
    """Images uint8 [B, C, H, W] to logits float, any B; `kind` and classes in its metadata.

    Logits are [B, L or T, C] of a reader, [B, C] of a classifier.
    """
    onnx = needed("onnx")
    needed("onnxscript")
    sample = torch.zeros(2, *input_shape(model), dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    program = torch.onnx.export(
        model.eval(),
        (sample,),
        dynamo=True,
        verbose=False,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    assert program is not None
    proto = program.model_proto
    about = {"kind": getattr(model, "kind", "attention")}
    if hasattr(model, "class_names"):
        about = {"kind": CLASSIFIER, "class_names": json.dumps(model.class_names)}
    for key, value in {**about, **_calibration_note(model)}.items():
        note = proto.metadata_props.add()
        note.key, note.value = key, value
    with replacing(path) as aside:
        onnx.save(proto, str(aside))


def input_shape(model: nn.Module) -> tuple[int, int, int]:
    """Channels, height and width of the images of a model."""
    channels, height, width = getattr(model, "image_shape", (1, IMAGE_HEIGHT, IMAGE_WIDTH))
    return channels, height, width


def load_onnx(path: Path) -> nn.Module:
    """The model in an ONNX file, run by onnxruntime on the CPU.

    Raises:
        CheckpointError: when the file is missing, or no reader or classifier of this package.
        ConfigurationError: when onnxruntime is not installed.
    """
    runtime = needed("onnxruntime")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such ONNX file")
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common base of its errors
        raise CheckpointError(f"{path}: not a complete ONNX file: {error}") from None

    class OnnxModel(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            try:
                (logits,) = session.run(["logits"], {"images": images.numpy()})
            except Exception as error:  # see above
                raise CheckpointError(f"{path}: cannot be run: {error}") from None
            return torch.from_numpy(logits)

    model: Any = OnnxModel()
    about = session.get_modelmeta().custom_metadata_map
    _take_calibration(model, about, path)
    model.kind = about.get("kind")
    if model.kind == CLASSIFIER:
        model.class_names = _class_names(path, about.get("class_names", ""))
        model.image_shape = session.get_inputs()[0].shape[1:]
    elif model.kind not in ("ctc", "attention"):
        raise CheckpointError(
            f"{path}: not an ONNX file that raytune_ocr.export wrote (no known `kind` in its "
            "metadata)"
        )
    return model.eval()


def _class_names(path: Path, text: str) -> list[str]:
    """The names of the classes in the metadata of an ONNX file."""
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path}: class_names in its metadata must be a list of names")
    return names


def load_exported(path: Path, imports: Sequence[str] = ()) -> nn.Module:
    """The model in a .safetensors or .onnx file.

    Args:
        imports: modules to import first, for the models that they register.
    """
    return load_onnx(path) if path.suffix == ".onnx" else load_safetensors(path, imports)


def without_own_paths(config: TrainingConfig) -> TrainingConfig:
    """`config` without folders of the machine that it was trained on."""
    values = {**config.to_dict(), "output_dir": TrainingConfig.output_dir}
    return TrainingConfig.from_dict(_without_paths(values), environment={})


def _without_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    return last_part(value) if isinstance(value, str) and Path(value).is_absolute() else value


def last_part(path: str) -> str:
    """The end of an absolute path, enough to know the data by; a relative one as it is."""
    return "/".join(Path(path).parts[1:][-2:]) or "." if Path(path).is_absolute() else path
