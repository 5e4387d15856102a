"""What all tests share: one thread, since the machine's cores are shared by real processes.

Generated input is the same in every run; `--hypothesis-profile=explore` draws much more, anew.
"""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # 30 are too few on a busy machine
os.environ.setdefault("RAY_worker_niceness", "0")  # of 15, trials starve beside the other tests

settings.register_profile("repeatable", derandomize=True, max_examples=200, deadline=None)
settings.register_profile("explore", max_examples=10_000, deadline=None)
settings.load_profile("repeatable")

pytest_plugins = ["tests.fixtures.runs", "tests.fixtures.by_hand"]

RUNS = ("confirmed_run", "finished_run", "stored_population")
"""Fixtures that take as long as the tests that share them: those stay side by side."""


def pytest_collection_modifyitems(config, items):
    """In several processes, slow tests come first: none of them is left to the end.

    Those with a Ray of their own come before those that share one.
    """
    if hasattr(config, "workerinput"):
        items.sort(key=_place)


def _place(item):
    slow = item.get_closest_marker("slow") is not None
    shared = [name for name in RUNS if name in item.fixturenames]
    return "no_shared_ray" not in item.fixturenames, not slow, shared
