import random

import pytest

from raytune_ocr.tune.space.domains import Domain, find_domains, misspelt_domains, parse_domain


def domain(kind, *values):
    parsed, problems = parse_domain({kind: list(values)}, ("training", "x"), "here")
    assert not problems
    return parsed


EACH = [
    domain("choice", "a", [1, 2], None),
    domain("grid", 3, 1, 2),
    domain("uniform", 0.5, 2),
    domain("loguniform", 1e-5, 1e-1),
    domain("quniform", 16, 64, 16),
    domain("quniform", 0.1, 0.45, 0.1),
    domain("randint", -2, 2),
]


@pytest.mark.parametrize("one", EACH, ids=str)
def test_what_is_drawn_is_in_the_domain_and_is_known_again(one):
    rng = random.Random(1)
    for _ in range(200):
        value = one.draw(rng)
        assert one.holds(value) and one.to_optuna(value) is not None


@pytest.mark.parametrize("one", EACH, ids=str)
def test_the_part_around_a_value_holds_it_and_lies_within(one):
    rng = random.Random(2)
    for _ in range(50):
        value = one.draw(rng)
        near = one.around(value)
        assert near.holds(value)
        assert all(one.holds(near.draw(rng)) for _ in range(20))
        assert near.kind == one.kind


def test_steps_and_whole_numbers_reach_both_ends():
    rng = random.Random(3)
    assert {domain("quniform", 16, 64, 16).draw(rng) for _ in range(99)} == {16, 32, 48, 64}
    assert {domain("randint", 1, 3).draw(rng) for _ in range(99)} == {1, 2, 3}
    assert {domain("quniform", 0.1, 0.45, 0.1).draw(rng) for _ in range(99)} == {0.1, 0.2, 0.3, 0.4}


@pytest.mark.parametrize("bounds", [(0.9999, 0.99999), (1e6, 1e6 + 1), (-1.0001, -1.00005)])
@pytest.mark.parametrize("kind", ["uniform", "loguniform"])
def test_a_narrow_range_far_from_zero_is_drawn_evenly(kind, bounds):
    if kind == "loguniform" and bounds[0] < 0:
        return
    one, rng = domain(kind, *bounds), random.Random(5)
    drawn = {one.draw(rng) for _ in range(200)}
    assert len(drawn) > 170 and all(bounds[0] <= value <= bounds[1] for value in drawn)
    middle = sum(bounds) / 2
    assert 70 < sum(value < middle for value in drawn) < 130


def test_tiny_steps_are_kept():
    assert [domain("quniform", 1e-13, 4e-13, 1e-13).at_step(n) for n in (0, 2)] == [1e-13, 3e-13]


def test_a_number_is_scaled_to_the_next_step_or_integer():
    whole = domain("randint", 1, 10**9)
    assert [whole.scaled(5, factor) for factor in (1.2, 0.8)] == [6, 4]
    assert [whole.scaled(10**9, 1.2), whole.scaled(1, 0.8)] == [10**9, 1]
    steps = domain("quniform", 16, 64, 16)
    assert [steps.scaled(value, 1.2) for value in (8, 32, 40, 64, 90)] == [16, 48, 48, 64, 64]
    assert [steps.scaled(value, 0.8) for value in (8, 32, 40, 64, 90)] == [16, 16, 32, 48, 64]


def test_what_lies_between_steps_becomes_the_nearest():
    steps = domain("quniform", 16, 60, 16)  # up to 48
    assert [steps.to_optuna(value) for value in (16, 39, 41, 60)] == [0, 1, 2, 2]
    assert steps.to_optuna(61) is None
    whole = domain("randint", 1, 5)
    assert [whole.to_optuna(value) for value in (1.0, 2.4, 4.6)] == [1, 2, 5]
    assert whole.to_optuna(5.1) is None


def test_a_log_scale_is_drawn_evenly_by_its_decades():
    rng = random.Random(4)
    drawn = [domain("loguniform", 1e-4, 1e-2).draw(rng) for _ in range(1000)]
    assert 400 < sum(value < 1e-3 for value in drawn) < 600


def test_around_narrows_each_kind_by_its_rule():
    assert domain("uniform", 0, 1).around(0.9).values == (0.65, 1)
    assert domain("loguniform", 1e-4, 1).around(1e-2).values == (1e-3, 0.1)
    assert domain("randint", 0, 3).around(1).values == (0, 2)
    assert domain("choice", 16, 64, 32, 128).around(64).values == (64, 32, 128)
    assert domain("choice", "adam", "sgd").around("sgd").values == ("sgd",)
    assert domain("uniform", 0, 1).around(7).values == (0, 1)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"choice": []}, "must hold at least one value"),
        ({"grid": [1, 1]}, "each value once"),
        ({"choice": "adam"}, "must be a list, got 'adam'"),
        ({"uniform": [2, 1]}, "the lower bound must be below the upper one, got [2, 1]"),
        ({"uniform": [1]}, "must be two bounds"),
        ({"uniform": [0, float("inf")]}, "must be two bounds"),
        ({"loguniform": [0, 1]}, "a log scale needs bounds > 0"),
        ({"quniform": [0, 1]}, "a lower bound, an upper bound and a step"),
        ({"quniform": [0, 1, 2]}, "the step must be > 0 and fit"),
        ({"uniform": [-1.7e308, 1.7e308]}, "must be less than 1.8e308 apart"),
        ({"uniform": [0, 10**400]}, "must be two bounds"),
        ({"quniform": [0, 1, 1e-320]}, "at most 1,000,000 steps"),
        ({"choice": [float, 1]}, "must hold plain values"),
        ({"randint": [0, 1.5]}, "must be integers"),
        ({"choice": [1], "grid": [2]}, "must have one kind, got choice, grid"),
    ],
)
def test_a_domain_of_wrong_shape_is_reported_with_rule_and_value(written, message):
    _, problems = parse_domain(written, ("training", "x"), "here")
    assert len(problems) == 1 and problems[0].startswith("here.") and message in problems[0]


def test_domains_are_found_at_any_depth_and_nowhere_else():
    content = {
        "model": {"options": {"width": {"choice": [1, 2]}, "grid": 3}},
        "optimizer": {"betas": [{"uniform": [0.8, 0.9]}, 0.99]},
    }
    assert [path for path, _ in find_domains(content)] == [
        ("model", "options", "width"),
        ("optimizer", "betas", 0),
    ]


def test_a_domain_tells_what_it_is():
    assert str(Domain("choice", ("a", 1))) == 'choice ["a", 1]'


@pytest.mark.parametrize(
    ("domain", "value", "lower", "higher"),
    [
        (Domain("loguniform", (1e-4, 1e-2)), 9e-3, 7.2e-3, 1e-2),
        (Domain("uniform", (0, 0.1)), 0.05, 0.04, 0.06),
        (Domain("quniform", (0.1, 0.5, 0.2)), 0.3, 0.1, 0.5),
        (Domain("quniform", (0.1, 0.5, 0.2)), 0.5, 0.3, 0.5),
        (Domain("choice", (5, 1, 0.5)), 1, 0.5, 5),
        (Domain("choice", (5, 1, 0.5)), 0.5, 0.5, 1),
    ],
)
def test_a_scaled_value_stays_in_its_domain(domain, value, lower, higher):
    assert domain.scaled(value, 0.8) == pytest.approx(lower)
    assert domain.scaled(value, 1.2) == pytest.approx(higher)


def test_leaves_that_look_like_domains_of_a_misspelt_kind_are_found():
    content = {
        "lr": {"loguniforn": [1e-4, 1e-1]},
        "inner": {"width": {"choices": [1, 2], "when": {"training.loss_type": "focal"}}},
        "right": {"uniform": [0, 1]},
        "mapping": {"layers": [8, 16]},
        "text": {"choices": "none"},
    }
    found = dict(misspelt_domains(content))
    assert found == {("lr",): "loguniforn", ("inner", "width"): "choices"}
