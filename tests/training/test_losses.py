import pytest
import torch
from torch.nn import functional

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.training import CrossEntropyLoss, CTCLoss, FocalLoss, OCRLoss, create_loss_function
from raytune_ocr.training.losses import set_label_smoothing
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


def test_the_auxiliary_ctc_loss_is_weighted_and_reported_apart():
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


EVERY_LOSS = [
    *(CrossEntropyLoss(), FocalLoss(), CTCLoss()),
    *(OCRLoss(name) for name in ("crossentropy", "focal", "ctc")),
]


def value_of(loss):
    return loss["loss"] if isinstance(loss, dict) else loss


@pytest.mark.parametrize("loss", EVERY_LOSS, ids=lambda loss: type(loss).__name__)
def test_a_batch_of_padding_alone_has_the_loss_0_and_no_gradient(loss):
    logits = torch.randn(2, 20, 13, requires_grad=True)
    value = value_of(loss(logits, torch.full((2, 20), PAD_TOKEN_ID)))
    value.backward()
    assert value == 0 and (logits.grad == 0).all()
    assert value_of(loss(logits, torch.full((2, 9), PAD_TOKEN_ID))) == 0  # fewer than predictions


@pytest.mark.parametrize("loss", [CrossEntropyLoss(), FocalLoss()])
def test_rows_of_padding_do_not_count_beside_shorter_targets(loss):
    logits = torch.randn(3, 12, 13)
    padded = torch.cat([TARGETS, torch.full_like(TARGETS[:1], PAD_TOKEN_ID)])
    assert TARGETS.shape[1] < logits.shape[1]
    torch.testing.assert_close(loss(logits, padded), loss(logits[:2], TARGETS))


def test_rows_of_padding_do_not_count_for_ctc():
    logits = torch.randn(3, 32, 13)
    padded = torch.cat([TARGETS, torch.full_like(TARGETS[:1], PAD_TOKEN_ID)])
    assert torch.equal(CTCLoss()(logits, padded), CTCLoss()(logits[:2], TARGETS))


@pytest.mark.parametrize("name", ["crossentropy", "focal", "ctc"])
def test_a_wrapped_loss_ignores_the_lengths_that_it_does_not_need(name):
    logits = torch.randn(2, 32, 13)
    lengths = {"input_lengths": torch.tensor([32, 32]), "target_lengths": torch.tensor([3, 1])}
    loss = OCRLoss(name)
    assert torch.equal(loss(logits, TARGETS, **lengths)["loss"], loss(logits, TARGETS)["loss"])


def test_the_lengths_of_ctc_are_used():
    logits = torch.randn(2, 32, 13)
    short = OCRLoss("ctc")(logits, TARGETS, input_lengths=torch.tensor([16, 16]))["loss"]
    assert torch.equal(short, OCRLoss("ctc")(logits[:, :16], TARGETS)["loss"])


def test_the_factory_takes_the_arguments_of_each_loss_by_their_short_names():
    focal = create_loss_function(loss_type="focal", gamma=3.0, alpha=0.5).main
    assert (focal.gamma, focal.alpha) == (3.0, 0.5)
    assert create_loss_function("ctc", blank_token_id=0).main.blank_token_id == 0
    config = TrainingConfig(model_name="ctc_small", loss_type="ctc")
    assert create_loss_function(config=config).loss_type == "ctc"
    with pytest.raises(ConfigurationError, match=r"crossentropy: unknown argument 'gamma'"):
        create_loss_function("crossentropy", gamma=2.0)


@pytest.mark.parametrize("loss", [CrossEntropyLoss, FocalLoss, CTCLoss, OCRLoss])
@pytest.mark.parametrize("share", [1.0, -0.1, float("nan")])
def test_label_smoothing_has_the_range_of_the_config_in_every_loss(loss, share):
    with pytest.raises(ConfigurationError) as of_loss:
        loss(label_smoothing=share)
    with pytest.raises(ConfigurationError) as of_config:
        TrainingConfig(label_smoothing=share)
    assert str(of_loss.value) == str(of_config.value)
    assert ">= 0 and < 1" in str(of_loss.value)


@pytest.mark.parametrize("name", ["crossentropy", "focal", "ctc"])
def test_label_smoothing_acts_on_every_loss(name):
    config = TrainingConfig(
        model_name="ctc_small" if name == "ctc" else "small", loss_type=name, label_smoothing=0.2
    )
    logits = torch.randn(2, 32, 13)
    assert create_loss_function(config)(logits, TARGETS) != OCRLoss(name)(logits, TARGETS)


def test_smoothed_focal_loss_without_focus_is_smoothed_cross_entropy():
    logits = torch.randn(2, 9, 13)
    focal = FocalLoss(0.0, 1.0, label_smoothing=0.1)(logits, TARGETS)
    assert torch.allclose(focal, CrossEntropyLoss(0.1)(logits, TARGETS))


def test_smoothed_ctc_is_least_sure_of_itself():
    columns = torch.zeros(1, 32, 13)
    sure = columns.clone()
    sure[..., BLANK_TOKEN_ID] = 40
    divergence = [
        CTCLoss(label_smoothing=0.5)(x, TARGETS[:1]) - 0.5 * CTCLoss()(x, TARGETS[:1])
        for x in (columns, sure)
    ]
    assert divergence[0] < divergence[1]


def test_ctc_counts_the_letters_of_other_ids():
    logits = torch.randn(1, 16, 23)
    ours = CTCLoss(blank_token_id=0, pad_token_id=22, eos_token_id=21)
    expected = functional.ctc_loss(
        logits.log_softmax(-1).transpose(0, 1),
        torch.tensor([[20, 11]]),
        torch.tensor([16]),
        torch.tensor([2]),
        blank=0,
    )
    assert torch.allclose(ours(logits, torch.tensor([[20, 11, 21, 21]])), expected)


def test_label_smoothing_that_changes_leaves_the_auxiliary_loss_alone():
    loss = OCRLoss("crossentropy")
    set_label_smoothing(loss, 0.3)
    assert (loss.main.label_smoothing, loss.ctc.label_smoothing) == (0.3, 0.0)
