"""What curves of earlier studies say of this one's trials."""

import math

import numpy as np
import pytest

from raytune_ocr.tune.execution.simulator import SimulatedTrial, Simulator
from raytune_ocr.tune.schedulers.base import EarlierTrial, Setup
from raytune_ocr.tune.schedulers.curves.earlier_studies import Advice, EarlierStudies
from raytune_ocr.tune.schedulers.curves.unit_cube import UnitCube
from raytune_ocr.tune.schedulers.freeze_thaw import FreezeThaw
from raytune_ocr.tune.space.domains import Domain
from tests.fixtures.simulated import plan_of, simulated

EPOCHS = 9
DOMAINS = {"found": {"lr": Domain("uniform", (0.0, 1.0))}}


def curve(lr, best=0.7):
    """Rises to a level that is the higher, the nearer the rate is to the best."""
    return [(1 - abs(lr - best)) * (1 - 0.6**epoch) for epoch in range(1, EPOCHS + 1)]


def study(best=0.7, sign=1, count=40):
    """Whole curves of an earlier study."""
    rates = np.random.default_rng(count).uniform(size=count)
    return [
        EarlierTrial(
            "found",
            {"lr": lr},
            {"lr": lr},
            {epoch: sign * score for epoch, score in enumerate(curve(lr, best), 1)},
            EPOCHS,
        )
        for lr in rates.tolist()
    ]


def trials(rates, epochs=0, best=0.7):
    return [
        simulated(
            f"found_{n}", EPOCHS, curve(lr, best)[:epochs], search="found", sampled={"lr": lr}
        )
        for n, lr in enumerate(rates)
    ]


def earlier(*studies):
    return EarlierStudies(studies, UnitCube(DOMAINS))


def test_a_study_predicts_where_its_own_curves_were_good():
    predicted = earlier(study()).at_end(trials([0.05, 0.7, 0.95]))
    assert predicted[:, 0].argmax() == 1 and predicted[:, 0].argmin() == 0


def test_predictions_between_two_epochs_lie_between_theirs():
    known = earlier(study())
    (one,) = trials([0.3])
    low, middle, high = known.at([one] * 3, np.array([0.5, 0.6, 0.7]))[:, 0]
    assert min(low, high) <= middle <= max(low, high)


def test_studies_that_rank_nothing_are_left_out():
    unknown = [EarlierTrial("found", {"lr": 0.1}, {"lr": 0.1}, {1: math.nan}, EPOCHS)] * 9
    assert len(earlier(study(count=3), unknown, study())) == 1


@pytest.mark.parametrize("sign", [1, -1])
def test_trust_has_the_sign_of_the_agreement_and_grows_with_the_trials(sign):
    known = earlier(study(sign=sign))
    rates = np.random.default_rng(0).permutation(np.linspace(0, 1, 30))
    few, many = (Advice(known, trials(rates[:count], 1)) for count in (6, 30))
    assert 0 < sign * few.trust[0] < sign * many.trust[0] < 1
    assert 1 < few.factor < many.factor


def test_unrelated_studies_get_little_trust_and_advise_few_trials():
    rng = np.random.default_rng(0)
    related, advice = study(), []
    for _ in range(5):
        curves = [related[i].curve for i in rng.permutation(len(related))]
        shuffled = [one._replace(curve=c) for one, c in zip(related, curves, strict=True)]
        advice.append(Advice(earlier(shuffled), trials(rng.uniform(size=40), 1)))
    trusted = Advice(earlier(related), trials(rng.uniform(size=40), 1))
    assert np.mean([one.agreement for one in advice]) < 0.3 * trusted.agreement
    fresh = trials(rng.uniform(size=100))
    assert np.mean([len(one.best(fresh, 50)) for one in advice]) < 15
    assert len(trusted.best(fresh, 50)) > 40


def test_the_first_trials_are_by_the_studies_and_at_random_in_turn():
    known, fresh = earlier(study(0.7), study(0.1)), trials(np.linspace(0, 1, 21))
    advised = [Advice(known, trials([0.5] * begun, 1)).first(fresh) for begun in range(4)]
    assert advised[1] is None and advised[3] is None
    rates = [one.sampled["lr"] for one in advised if one]
    assert rates == [pytest.approx(0.7, abs=0.1), pytest.approx(0.1, abs=0.1)]


SPACE = {"found": {"num_samples": 60, "training": {"learning_rate": {"uniform": [0.001, 1.0]}}}}


def search(*studies, budget=60):
    """The best score of a search with few epochs."""

    def make(experiment, point):
        values = dict(point.values)
        scores = curve(values["learning_rate"])
        return SimulatedTrial(point.name, scores, experiment.name, values, vars(point.config))

    known = [
        [t._replace(sampled={"learning_rate": t.sampled["lr"]}, settings={}) for t in one]
        for one in studies
    ]
    plan = plan_of(SPACE, make=make)
    domains = {e.name: e.domains for e in plan.space.experiments.values()}
    setup = Setup(
        max_epochs=EPOCHS, num_trials=60, epoch_budget=budget, domains=domains, earlier=known
    )
    return max(report.score for report in Simulator(plan, FreezeThaw(setup)).run())


def test_a_related_study_finds_a_good_trial_with_a_fraction_of_the_epochs():
    assert search(study(), budget=9) > 0.9 > search(budget=9)


def test_a_misleading_study_does_not_keep_the_search_from_a_good_trial():
    assert search(study(sign=-1)) > 0.9
