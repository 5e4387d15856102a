"""The winner, ready to ship: `python -m raytune_ocr.export RESULTS.json --output DIR`."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_ocr.cli import answer
from raytune_ocr.errors import CheckpointError, ConfigurationError, DataLoaderError
from raytune_ocr.files import replacing
from raytune_ocr.model_card import Data, model_card, validate

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from raytune_ocr.data import PackedSplit

WEIGHTS, CONFIG, ONNX, CARD = "model.safetensors", "config.yaml", "model.onnx", "README.md"
TOLERANCE = 1e-3  # of a logit: far below what changes a reading
CHECKED = 256  # images that both models read
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
    import yaml

    from raytune_ocr.config import TrainingConfig
    from raytune_ocr.training import create_model_from_config

    load_file = needed("safetensors.torch").load_file
    beside = path.with_name(CONFIG)
    for file in (path, beside):
        if not file.is_file():
            raise CheckpointError(f"{file}: does not exist; {WEIGHTS} needs {CONFIG} beside it")
    values = yaml.safe_load(beside.read_text(encoding="utf-8"))
    model = create_model_from_config(TrainingConfig.from_dict(values, environment={}))
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


def logits_of(model: nn.Module, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Logits of images uint8 [N, H, W]."""
    import numpy as np
    import torch

    with torch.inference_mode():
        parts = [
            model(torch.from_numpy(images[at : at + batch_size]).unsqueeze(1)).float().numpy()
            for at in range(0, len(images), batch_size)
        ]
    return np.concatenate(parts)


def milliseconds(model: nn.Module, images: np.ndarray, repeats: int = 10) -> float:
    """Median time for all `images` as one batch."""
    logits_of(model, images, len(images))
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        logits_of(model, images, len(images))
        times.append(time.perf_counter() - started)
    return sorted(times)[repeats // 2] * 1000


def export(
    results: Path,
    output: Path,
    data: str | None = None,
    say: Callable[[str], None] = print,
    allow_outside: bool = False,
) -> dict[str, Any]:
    """Write weights, config, ONNX and a model card, and check that they read alike.

    Args:
        results: a results JSON (its best model), a trial's folder or a checkpoint.
        data: metadata of real images (default: what the config names).
        allow_outside: accept image paths that leave the data's folder and the working one.

    Returns:
        `largest_difference` of a logit, `images_checked`, sizes in bytes and times in ms.

    Raises:
        CheckpointError: also when the ONNX model does not read as PyTorch does.
        ConfigurationError: when the extra is not installed.
        DataLoaderError: when there are no images to check with.
    """
    from raytune_ocr.data.readers import dataset_info, load_split, split_sizes
    from raytune_ocr.predict import find_checkpoint
    from raytune_ocr.training.build import load_reader, whole

    for module in ("safetensors", "onnx", "onnxscript", "onnxruntime"):
        needed(module)
    model, config = load_reader(find_checkpoint(results))
    path = data or config.metadata_path
    try:
        split = load_split(path, config.val_split, allow_outside=allow_outside)
    except DataLoaderError as error:
        raise DataLoaderError(f"{error}; real images check the export: --data METADATA") from None
    output.mkdir(parents=True, exist_ok=True)
    write_safetensors(output / WEIGHTS, model)
    whole(config, model).save_yaml(output / CONFIG)
    write_onnx(output / ONNX, model)
    report = _check(model, output, split, say)
    data_facts = Data(path, split_sizes(path, allow_outside), dataset_info(path))
    card = model_card(config, data_facts, validate(model, split), report, _document(results))
    with replacing(output / CARD) as aside:
        aside.write_text(card, encoding="utf-8")
    return report


def _check(
    model: nn.Module, output: Path, split: PackedSplit, say: Callable[[str], None]
) -> dict[str, Any]:
    import numpy as np

    images = split.images[:CHECKED]
    wanted = logits_of(model, images)
    report: dict[str, Any] = {"images_checked": len(images)}
    for name in (WEIGHTS, ONNX):
        loaded = load_exported(output / name)
        # An odd last batch, too: the batch is dynamic.
        difference = float(np.abs(logits_of(loaded, images, 37) - wanted).max())
        if not difference <= TOLERANCE:
            raise CheckpointError(
                f"{output / name}: logits must be within {TOLERANCE} of PyTorch's,"
                f" the largest difference is {difference:.3g}"
            )
        size = (output / name).stat().st_size
        one, many = milliseconds(loaded, images[:1]), milliseconds(loaded, images[:64])
        rate = len(images[:64]) / many * 1000
        report[name] = {
            "bytes": size,
            "largest_difference": difference,
            "ms_one_image": one,
            "images_per_second": rate,
        }
        say(
            f"{output / name}: {size / 1e6:.2f} MB, {one:.1f} ms an image alone, {rate:.0f} images"
            f" a second by 64; largest difference {difference:.2g} over {len(images)} images"
        )
    report["largest_difference"] = report[ONNX]["largest_difference"]
    return report


def _document(results: Path) -> dict[str, Any]:
    """The results JSON, if that is what the model came from."""
    from raytune_ocr.predict import find_results

    path = find_results(results)
    return json.loads(path.read_text(encoding="utf-8")) if path else {}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m raytune_ocr.export",
        description="Write the best model as safetensors and ONNX, checked, with a model card.",
        epilog="example: python -m raytune_ocr.export training_output "
        f"--output reader    (needs {EXTRA})",
    )
    parser.add_argument(
        "results", type=Path, help="an output folder, a results JSON, a trial's folder or a .pt"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder to write to"
    )
    parser.add_argument("--data", metavar="METADATA", help="real images (default: the config's)")
    parser.add_argument(
        "--allow-outside",
        action="store_true",
        help="accept image paths outside the data's folder and the working folder",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0: exported and checked, 2: it could not be."""
    arguments = build_parser().parse_args(argv)

    def command() -> int:
        export(
            arguments.results,
            arguments.output,
            arguments.data,
            allow_outside=arguments.allow_outside,
        )
        print(f"{arguments.output / CARD}: the model card")
        return 0

    return answer(
        command, f"stopped; {arguments.output} is not whole: the same command makes it so"
    )


if __name__ == "__main__":
    sys.exit(main())
