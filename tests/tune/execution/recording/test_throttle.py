import pytest

from raytune_ocr.tune.execution.recording import throttle
from raytune_ocr.tune.execution.recording.throttle import Throttle


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is set."""
    now = [100.0]
    monkeypatch.setattr(throttle.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("share", "seconds", "took", "pause"), [(0.05, 0, 1, 19), (0.5, 0, 1, 1), (0.05, 60, 1, 60)]
)
def test_the_longer_work_takes_the_later_it_is_done_again(clock, share, seconds, took, pause):
    limit = Throttle(share, seconds)
    assert limit.ready()
    with limit.measured():
        clock[0] += took
    clock[0] += pause - 0.01
    assert not limit.ready()
    clock[0] += 0.02
    assert limit.ready()


def test_work_that_fails_counts_as_well(clock):
    limit = Throttle(0.1)
    with pytest.raises(OSError), limit.measured():
        clock[0] += 1
        raise OSError
    assert not limit.ready()
