import pytest
import torch
from torch.nn import functional

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.training import CrossEntropyLoss, CTCLoss, FocalLoss, OCRLoss, create_loss_function
from raytune_ocr.vocabulary import BLANK_TOKEN_ID, PAD_TOKEN_ID, encode

TARGETS = torch.tensor([encode("123"), encode("0")])


@pytest.mark.parametrize("loss", [CrossEntropyLoss(), FocalLoss()])
def test_padding_does_not_count(loss):
    logits = torch.randn(2, 9, 13)
    padded = TARGETS.clone()
    padded[:, 5:] = PAD_TOKEN_ID
    changed = logits.clone()
    changed[:, 5:] += 100 * torch.randn(2, 4, 13)
    assert torch.allclose(loss(logits, padded), loss(changed, padded))


@pytest.mark.parametrize("name", ["crossentropy", "focal"])
def test_positions_behind_the_targets_are_to_answer_that_the_string_has_ended(name):
    logits = torch.randn(2, 12, 13)
    longer = torch.tensor([encode("123", 12), encode("0", 12)])
    loss = OCRLoss(name)
    assert torch.equal(loss(logits, TARGETS)["loss"], loss(logits, longer)["loss"])


def test_focal_loss_without_focus_is_cross_entropy():
    logits = torch.randn(2, 9, 13)
    expected = functional.cross_entropy(logits.flatten(0, 1), TARGETS.flatten())
    assert torch.allclose(FocalLoss(gamma=0.0, alpha=1.0)(logits, TARGETS), expected)


def test_focal_loss_dwells_on_hard_positions():
    sure = torch.zeros(1, 1, 13)
    sure[..., 0] = 10
    unsure = torch.zeros(1, 1, 13)
    target = torch.zeros(1, 1, dtype=torch.long)
    focal, plain = FocalLoss(gamma=2.0, alpha=1.0), CrossEntropyLoss()
    assert focal(sure, target) / plain(sure, target) < 1e-3
    assert focal(unsure, target) / plain(unsure, target) > 0.8


def test_ctc_loss_is_small_for_the_right_path_and_large_for_a_wrong_one():
    columns = torch.full((1, 17), BLANK_TOKEN_ID)
    columns[0, 1::2] = 5  # eight equal digits need a blank between them
    logits = functional.one_hot(columns, 13).float() * 20
    right, wrong = torch.tensor([encode("5" * 8)]), torch.tensor([encode("55")])
    assert CTCLoss()(logits, right) < 0.01 < CTCLoss()(logits, wrong)


def test_an_impossible_ctc_target_counts_zero_instead_of_infinity():
    assert CTCLoss()(torch.zeros(1, 4, 13), torch.tensor([encode("5" * 8)])) == 0


def test_the_auxiliary_ctc_loss_is_weighted_and_told_apart():
    loss = OCRLoss(ctc_weight=0.5)
    logits, columns = torch.randn(2, 9, 13), torch.randn(2, 32, 13)
    parts = loss(logits, TARGETS, ctc_logits=columns)
    assert torch.allclose(parts["loss"], parts["main_loss"] + 0.5 * parts["ctc_loss"])


def test_a_loss_is_made_from_a_name_or_from_a_config():
    config = TrainingConfig(loss_type="focal", focal_gamma=3.0)
    assert create_loss_function(config).main.gamma == 3.0
    assert create_loss_function("focal", focal_gamma=1.0).main.gamma == 1.0


def test_an_unknown_loss_lists_the_losses_there_are():
    with pytest.raises(ConfigurationError, match="crossentropy, ctc, focal"):
        OCRLoss("hinge")


def test_focal_loss_of_what_is_read_with_certainty_has_a_finite_gradient():
    logits = torch.zeros(1, 2, 13)
    logits[0, 0, 3] = 40.0
    targets = torch.tensor([[3, 5]])
    for gamma in (0.0, 0.5, 1.0, 2.0):
        given = logits.clone().requires_grad_()
        FocalLoss(gamma, 1.0)(given, targets).backward()
        assert given.grad.isfinite().all(), gamma
