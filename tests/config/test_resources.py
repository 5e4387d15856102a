import math

import pytest

from raytune_ocr.config.resources import NO_RESOURCES, Resources, parse_bytes, parse_resources


def test_resources_are_read_with_their_units():
    content = {"cpus": 2, "gpus": 0.5, "memory": "1.5GiB"}
    assert parse_resources(content, "found.resources") == (Resources(2, 0.5, 1610612736), [])
    assert parse_resources(None, "found.resources") == (NO_RESOURCES, [])


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (1000, 1000),
        ("3GiB", 3 * 2**30),
        (" 500 mb ", 500_000_000),
        ("1e3MB", None),
        ("3", None),
        ("3 pounds", None),
        ("0.5B", None),
        (0, None),
        (True, None),
        (math.inf, None),
        (None, None),
    ],
)
def test_a_size_is_bytes_or_text_with_a_unit(value, size):
    assert parse_bytes(value) == size


def test_everything_that_is_wrong_is_reported_at_once_with_place_rule_and_value():
    content = {"cpu": 2, "cpus": 0, "gpus": -1, "memory": "much"}
    found, problems = parse_resources(content, "space.yaml: found.resources")
    assert found == NO_RESOURCES
    assert problems == [
        "space.yaml: found.resources.cpu: unknown resource 'cpu' (known: cpus, gpus, memory); "
        "did you mean 'cpus'?",
        "space.yaml: found.resources.cpus: must be a number >= 0.01, got 0",
        "space.yaml: found.resources.gpus: must be a number >= 0, got -1",
        "space.yaml: found.resources.memory: must be bytes, or text such as 3GiB or 500MB, "
        "got 'much'",
    ]


def test_what_is_no_mapping_is_refused():
    _, problems = parse_resources([2], "found.resources")
    assert problems == ["found.resources: must be a mapping of cpus, gpus, memory, got [2]"]
