import resource
import threading

import pytest
import torch

from raytune_ocr.training.allocator import keep_freed_memory


def page_faults_of(work, times=20) -> float:
    for _ in range(times):
        work()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        work()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / times


def test_memory_taken_again_costs_no_page_faults():
    if not keep_freed_memory():
        pytest.skip("the allocator is not glibc's")
    megabytes = 8
    pages = megabytes * 2**20 / resource.getpagesize()

    def work() -> None:
        torch.ones(megabytes * 2**18)

    assert page_faults_of(work) < 0.05 * pages
    found = []
    thread = threading.Thread(target=lambda: found.append(page_faults_of(work)))
    thread.start()
    thread.join()
    assert found[0] < 0.05 * pages  # Ray runs a trial in a thread that is not the main one
