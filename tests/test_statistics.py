import pytest

from raytune_ocr.statistics import bootstrap_mean, paired_lead, wilson


def test_wilsons_interval_is_the_textbooks():
    low, high = wilson(8, 10)
    assert (low, high) == (pytest.approx(0.490, abs=1e-3), pytest.approx(0.943, abs=1e-3))
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(10, 10).high == 1.0


def test_a_share_above_one_is_refused():
    with pytest.raises(ValueError, match="k"):
        wilson(11, 10)


def test_the_bootstrap_holds_the_mean_and_narrows_with_more_values():
    few, many = [0.1, 0.5, 0.9], [0.1, 0.5, 0.9] * 20
    low, high = bootstrap_mean(few)
    assert low < 0.5 < high
    assert bootstrap_mean(many).high - bootstrap_mean(many).low < high - low
    assert bootstrap_mean(few) == bootstrap_mean(few)
    assert bootstrap_mean([0.7]) == (0.7, 0.7)
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_mean([])


def test_a_steady_lead_is_more_than_noise_and_a_wavering_one_is_not():
    second = [0.90, 0.92, 0.91]
    steady = paired_lead([0.95, 0.971, 0.962], second)
    assert steady.difference == pytest.approx(0.051)
    assert steady.p_value < 0.01 and not steady.is_noise
    assert paired_lead([0.99, 0.85, 0.93], second).is_noise


def test_the_p_value_is_the_textbooks():
    # Differences 1, 2, 3: t = 2 / (1 / sqrt 3) with two degrees of freedom.
    assert paired_lead([2, 4, 6], [1, 2, 3]).p_value == pytest.approx(0.0742, abs=1e-4)


@pytest.mark.parametrize("ahead", [[0.5], [0.5, 0.6], [0.4, 0.5]])
def test_one_pair_or_rounded_equal_differences_prove_nothing(ahead):
    lead = paired_lead(ahead, [0.4, 0.5][: len(ahead)])
    assert lead.p_value is None and lead.is_noise


def test_pairs_must_fit():
    with pytest.raises(ValueError, match="must have equal lengths"):
        paired_lead([1.0], [1.0, 2.0])
