import inspect
import pickle
import re

import pytest

from raytune_ocr import errors
from raytune_ocr.errors import DETERMINISTIC_ERRORS, RaytuneOCRError, unknown_name

ERRORS = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, RaytuneOCRError)
]


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_is_in_the_drawing_and_reads_as_its_message(error):
    assert re.search(rf"\b{error.__name__}\b", errors.__doc__)
    assert str(error("a: must be b, got c")) == "a: must be b, got c"


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_comes_back_whole_from_another_process(error):
    again = pickle.loads(pickle.dumps(error("why")))
    assert (type(again), str(again)) == (error, "why")


def test_errors_derive_from_the_built_in_ones_that_the_drawing_names():
    drawn = re.findall(r"([A-Z]\w*Error) +\(([\w.]+)\)", errors.__doc__)
    assert len(drawn) > 8
    for name, built_in in drawn:
        bases = {base.__name__ for base in getattr(errors, name).__mro__}
        assert built_in.rpartition(".")[2] in bases, name


def test_what_a_node_or_the_time_ended_may_be_tried_again():
    assert not any(issubclass(errors.TrialTimeoutError, kind) for kind in DETERMINISTIC_ERRORS)
    assert issubclass(errors.DivergenceError, DETERMINISTIC_ERRORS)


def test_an_unknown_name_is_reported_with_those_there_are():
    assert unknown_name("key", "x", []) == "unknown key 'x' (none is known)"
    assert unknown_name("key", "far off", ["b", "a"]) == "unknown key 'far off' (known: a, b)"
