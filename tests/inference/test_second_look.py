"""Tests of looking again at what is doubtful."""

import torch
from torch import Tensor, nn

from raytune_ocr.inference.second_look import DOUBTFUL, ZOOMS, read_carefully, read_once, zoomed
from raytune_ocr.models import create_model, greedy_decode
from raytune_ocr.vocabulary import EOS_TOKEN_ID, IMAGE_HEIGHT, IMAGE_WIDTH, VOCAB_SIZE, encode


def logits_of(text: str, strength: float) -> Tensor:
    """Logits [L, C] that read `text`, the surer the stronger."""
    return strength * torch.nn.functional.one_hot(torch.tensor(encode(text)), VOCAB_SIZE).float()


class Scripted(nn.Module):
    """Answers each look at its only image by the next of the logits [L, C] it was given."""

    def __init__(self, *answers: Tensor) -> None:
        super().__init__()
        self.answers = list(answers)
        self.looks = 0

    def forward(self, images: Tensor) -> Tensor:
        given = self.answers[self.looks : self.looks + len(images)]
        self.looks += len(images)
        return torch.stack(given)


def blank_images(count: int) -> Tensor:
    return torch.full((count, 1, IMAGE_HEIGHT, IMAGE_WIDTH), 200, dtype=torch.uint8)


def test_what_is_sure_is_looked_at_once():
    model = Scripted(logits_of("12", 20))
    ids, confidences = read_carefully(model, "attention", blank_images(1))
    assert model.looks == 1
    assert ids[0].tolist() == encode("12") and confidences[0] > DOUBTFUL


def test_two_sure_looks_outvote_a_doubtful_one():
    model = Scripted(logits_of("17", 2), logits_of("12", 8), logits_of("12", 8))
    ids, confidences = read_carefully(model, "attention", blank_images(1))
    assert model.looks == 3
    assert ids[0].tolist() == encode("12")
    assert 0.6 < confidences[0] < 0.7  # two of three are sure of it


def test_one_sure_look_outweighs_two_that_hardly_know():
    model = Scripted(logits_of("17", 3), logits_of("12", 12), logits_of("17", 3))
    ids, confidences = read_carefully(model, "attention", blank_images(1))
    assert ids[0].tolist() == encode("12")
    assert confidences[0] < DOUBTFUL


def test_only_the_doubtful_images_of_a_batch_are_looked_at_again():
    model = Scripted(
        logits_of("1", 20), logits_of("22", 2), logits_of("3", 20), *2 * [logits_of("24", 20)]
    )
    ids, _ = read_carefully(model, "attention", blank_images(3))
    assert model.looks == 5
    assert ids.tolist() == [encode("1"), encode("24"), encode("3")]


def test_the_model_sees_no_more_images_at_a_time_than_a_batch_holds():
    sizes = []

    def model(images):
        sizes.append(len(images))
        return logits_of("12", 2).expand(len(images), -1, -1)

    ids, _ = read_carefully(model, "attention", blank_images(5), batch_size=2)
    assert sizes == [2, 2, 1] + 5 * [2]  # five at first, ten again
    assert ids.tolist() == 5 * [encode("12")]


def test_an_image_without_a_digit_is_not_looked_at_again():
    nothing = torch.zeros(9, VOCAB_SIZE)
    nothing[:, EOS_TOKEN_ID] = 1
    model = Scripted(nothing)
    ids, confidences = read_carefully(model, "attention", blank_images(1))
    assert model.looks == 1
    assert ids[0].tolist() == [EOS_TOKEN_ID] * 9 and confidences.tolist() == [0.0]


def test_readers_of_both_kinds_keep_one_of_the_readings_that_they_propose():
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (6, 1, 64, 128), dtype=torch.uint8, generator=generator)
    for name in ("small", "ctc_small"):
        torch.manual_seed(0)
        model = create_model(name).eval()
        if name == "ctc_small":
            model.ctc_head.bias.data.zero_()  # else all it reads is blank
        with torch.inference_mode():
            ids, confidences = read_carefully(model, model.kind, images)
            looks = [images, *(zoomed(images, factor) for factor in ZOOMS)]
            proposed = [read_once(model, model.kind, look) for look in looks]
        assert (proposed[0][1] < DOUBTFUL).all()
        for i, (reading, confidence) in enumerate(zip(ids, confidences, strict=True)):
            assert any(torch.equal(reading, found[i]) for found, _ in proposed)
            assert 0 <= confidence <= 1


def test_one_look_in_batches_is_greedy_decoding_of_all_at_once():
    torch.manual_seed(0)
    model = create_model("small").eval()
    images = torch.randint(0, 256, (5, 1, 64, 128), dtype=torch.uint8)
    with torch.inference_mode():
        ids, confidences = read_once(model, "attention", images, batch_size=2)
        whole_ids, whole_confidences = greedy_decode(model(images), "attention")
    assert torch.equal(ids, whole_ids)
    assert torch.allclose(confidences, whole_confidences, atol=1e-5)


def test_a_zoom_enlarges_about_the_middle():
    images = blank_images(1)
    images[..., 22:42, 44:84] = 10  # 20 x 40 pixels around the middle
    for factor in (0.5, 2.0):
        seen = zoomed(images, factor)
        assert seen.shape == images.shape and seen.dtype == torch.uint8
        ink = (seen < 105)[0, 0].nonzero()
        (top, left), (bottom, right) = ink.min(0).values.tolist(), ink.max(0).values.tolist()
        assert (bottom - top + 1, right - left + 1) == (20 * factor, 40 * factor)
        assert (top + bottom, left + right) == (63, 127)


def test_a_zoom_by_one_changes_nothing_and_the_border_continues_outside():
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (2, 3, 64, 128), dtype=torch.uint8, generator=generator)
    assert torch.equal(zoomed(images, 1.0), images)
    assert torch.equal(zoomed(blank_images(1), 0.5), blank_images(1))
