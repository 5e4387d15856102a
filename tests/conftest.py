"""What all tests share: one thread, since the machine's cores are shared by real processes.

Generated input is the same in every run; `--hypothesis-profile=explore` draws much more, anew.
"""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # 30 are too few on a busy machine

settings.register_profile("repeatable", derandomize=True, max_examples=200, deadline=None)
settings.register_profile("explore", max_examples=10_000, deadline=None)
settings.load_profile("repeatable")

pytest_plugins = ["tests.fixtures.runs"]
