"""Tests of the readers: shapes, gradients, precision, and that they learn."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from raytune_ocr.models import PRESETS, Reader, create_model, greedy_decode
from raytune_ocr.vocabulary import (
    BLANK_TOKEN_ID,
    EOS_TOKEN_ID,
    NUM_DIGITS,
    SEQUENCE_LENGTH,
    VOCAB_SIZE,
)

GLYPH = 12  # pixels on a side


def marks(batch: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Strings of one to eight made-up glyphs: images uint8 [B, 1, 64, 128], targets [B, L]."""
    generator = torch.Generator().manual_seed(seed)
    glyphs = torch.rand(NUM_DIGITS, 4, 4, generator=generator) > 0.5
    glyphs = glyphs.repeat_interleave(GLYPH // 4, 1).repeat_interleave(GLYPH // 4, 2)
    images = torch.full((batch, 1, 64, 128), 220, dtype=torch.uint8)
    targets = torch.full((batch, SEQUENCE_LENGTH), EOS_TOKEN_ID)
    for row in range(batch):
        length = 1 + row % (SEQUENCE_LENGTH - 1)
        digits = torch.randint(NUM_DIGITS, (length,), generator=generator)
        targets[row, :length] = digits
        for place, digit in enumerate(digits):
            left = 4 + place * (GLYPH + 3)
            images[row, 0, 26 : 26 + GLYPH, left : left + GLYPH][glyphs[digit]] = 40
    return images, targets


def loss_of(model: Reader, images: Tensor, targets: Tensor) -> Tensor:
    """What the trainer minimises: cross-entropy and half a CTC loss, or CTC alone."""
    output = model.read(images)
    columns = output.logits if output.ctc_logits is None else output.ctc_logits
    log_probs = columns.log_softmax(-1).transpose(0, 1)
    lengths = (targets < NUM_DIGITS).sum(dim=1)
    steps = torch.full_like(lengths, len(log_probs))
    ctc = functional.ctc_loss(log_probs, targets, steps, lengths, blank=BLANK_TOKEN_ID)
    if output.ctc_logits is None:
        return ctc
    return functional.cross_entropy(output.logits.flatten(0, 1), targets.flatten()) + 0.5 * ctc


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_logits_have_the_shape_of_their_kind(name: str, channels: int, dtype: torch.dtype) -> None:
    model = create_model(name).eval()
    images = (255 * torch.rand(2, channels, 64, 128)).to(dtype)
    output = model.read(images)
    assert output.logits.dtype == torch.float32
    if model.kind == "ctc":
        assert output.logits.shape == (2, 32, VOCAB_SIZE)
        assert output.ctc_logits is None
    else:
        assert output.logits.shape == (2, SEQUENCE_LENGTH, VOCAB_SIZE)
        assert output.ctc_logits.shape == (2, 32, VOCAB_SIZE)
    assert torch.equal(model(images), output.logits)


@pytest.mark.parametrize("name", PRESETS)
def test_logits_are_float32_under_autocast(name: str) -> None:
    model = create_model(name).eval()
    images, _ = marks(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model.read(images)
    assert all(part.dtype == torch.float32 for part in output if part is not None)
    assert all(part.isfinite().all() for part in output if part is not None)


@pytest.mark.parametrize("name", PRESETS)
def test_gradients_reach_every_parameter(name: str) -> None:
    model = create_model(name)
    loss_of(model, *marks(8)).backward()
    idle = [key for key, weight in model.named_parameters() if weight.grad is None]
    still = [
        key
        for key, weight in model.named_parameters()
        if weight.grad is not None and not weight.grad.any()
    ]
    assert (idle, still) == ([], [])


def test_a_negative_is_read_like_its_image() -> None:
    model = create_model("small").eval()
    images, _ = marks(4)
    assert torch.allclose(model(images), model(255 - images), atol=1e-3)


@pytest.mark.parametrize("name", ["small", "ctc_small"])
def test_an_image_of_one_colour_gives_finite_logits(name: str) -> None:
    assert create_model(name).eval()(torch.zeros(1, 1, 64, 128)).isfinite().all()


def test_reading_is_the_same_every_time_and_alone_or_in_a_batch() -> None:
    model = create_model("large").eval()
    images, _ = marks(4)
    together = model(images)
    assert torch.equal(together, model(images))
    assert torch.allclose(together[:1], model(images[:1]), atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1, 128, 64), (1, 1, 32, 128), (1, 2, 64, 128), (64, 128)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images: must be \[B, 1\|3"):
        create_model("small")(torch.zeros(shape))


@pytest.mark.parametrize("name", ["large", "ctc_small"])
def test_gradient_checkpointing_changes_nothing_but_memory(name: str) -> None:
    images, targets = marks(8)
    models = [
        create_model(name, gradient_checkpointing=flag, dropout=0.0) for flag in (False, True)
    ]
    models[1].load_state_dict(models[0].state_dict())
    for model in models:
        loss_of(model, images, targets).backward()
    plain, frugal = models
    for (key, weight), other in zip(plain.named_parameters(), frugal.parameters(), strict=True):
        assert torch.allclose(weight.grad, other.grad, atol=1e-5), key
    for (key, buffer), other in zip(plain.named_buffers(), frugal.buffers(), strict=True):
        assert torch.equal(buffer, other), key


@pytest.mark.parametrize("name", ["small", "ctc_small"])
def test_one_batch_is_learnt_by_heart_in_seconds(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    images, targets = marks()
    for _ in range(120):
        optimizer.zero_grad()
        loss_of(model, images, targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    ids, confidences = greedy_decode(model(images), model.kind)
    digits = targets < NUM_DIGITS
    assert (ids == targets)[digits].float().mean() > 0.95
    assert (confidences > 0).all() and (confidences <= 1).all()
