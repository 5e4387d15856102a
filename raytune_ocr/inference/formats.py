"""Writes and loads safetensors and ONNX."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_ocr.errors import CheckpointError, ConfigurationError
from raytune_ocr.files import replacing

if TYPE_CHECKING:
    from torch import nn


WEIGHTS, CONFIG, ONNX, CARD = "model.safetensors", "config.yaml", "model.onnx", "README.md"


EXTRA = 'pip install "raytune-ocr[export]"'


def needed(module: str) -> Any:
    """An optional module.

    Raises:
        ConfigurationError: when it is not installed; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(f"{module} is needed here ({error}): {EXTRA}") from None


def write_safetensors(path: Path, model: nn.Module) -> None:
    """All weights and buffers under their names."""
    save_file = needed("safetensors.torch").save_file
    tensors = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
    with replacing(path) as aside:
        save_file(tensors, str(aside))


def load_safetensors(path: Path) -> nn.Module:
    """The reader in a safetensors file beside its config.yaml, in evaluation mode.

    Raises:
        CheckpointError: when either file is missing, damaged, or they do not fit each other.
    """
    from raytune_ocr.config.training_config import TrainingConfig
    from raytune_ocr.config.yaml_files import load_yaml
    from raytune_ocr.training.model_config import rebuild_model

    load_file = needed("safetensors.torch").load_file
    beside = path.with_name(CONFIG)
    for file in (path, beside):
        if not file.is_file():
            raise CheckpointError(f"{file}: does not exist; {WEIGHTS} needs {CONFIG} beside it")
    try:
        config = TrainingConfig.from_dict(load_yaml(beside), environment={})
    except ConfigurationError as error:
        raise CheckpointError(f"{beside}: {str(error).removeprefix(f'{beside}: ')}") from None
    model = rebuild_model(config, beside)
    try:
        model.load_state_dict(load_file(str(path)))
    except Exception as error:  # the library has a class of its own for each damage
        raise CheckpointError(f"{path}: does not fit {beside}: {error}") from None
    return model.eval()


def write_onnx(path: Path, model: nn.Module) -> None:
    """Images uint8 [B, 1, H, W] to logits float [B, L or T, C], any B; `kind` in its metadata."""
    import torch

    from raytune_ocr.vocabulary import IMAGE_HEIGHT, IMAGE_WIDTH

    onnx = needed("onnx")
    needed("onnxscript")
    sample = torch.zeros(2, 1, IMAGE_HEIGHT, IMAGE_WIDTH, dtype=torch.uint8)
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
    note = proto.metadata_props.add()
    note.key, note.value = "kind", getattr(model, "kind", "attention")
    with replacing(path) as aside:
        onnx.save(proto, str(aside))


def load_onnx(path: Path) -> nn.Module:
    """The reader in an ONNX file, run by onnxruntime on the CPU.

    Raises:
        CheckpointError: when the file is missing or no reader.
        ConfigurationError: when onnxruntime is not installed.
    """
    import torch
    from torch import nn

    runtime = needed("onnxruntime")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such ONNX file")
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common base of its errors
        raise CheckpointError(f"{path}: not a whole ONNX file: {error}") from None
    kind = session.get_modelmeta().custom_metadata_map.get("kind")
    if kind is None:
        raise CheckpointError(f"{path}: holds no reader of this package (no kind in its metadata)")

    class OnnxReader(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            (logits,) = session.run(None, {"images": images.numpy()})
            return torch.from_numpy(logits)

    reader = OnnxReader()
    reader.kind = kind
    return reader.eval()


def load_exported(path: Path) -> nn.Module:
    """The reader in a .safetensors or .onnx file."""
    return load_onnx(path) if path.suffix == ".onnx" else load_safetensors(path)
