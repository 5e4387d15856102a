"""Keep freed memory in the process, so that a step on the CPU need not ask for it again.

glibc returns blocks of more than 128 KiB to the system when they are freed. A training step
frees and allocates all of its activations, which cost 1,000 to 3,000 page faults a step, and the
kernel zeroes each page first: 10 to 30 % of the time of a small reader's step.
"""

from __future__ import annotations

import ctypes
import functools

# From malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
KEPT = 1 << 30  # bytes: free memory at the end of the heap, and the largest block taken from it


@functools.cache
def keep_freed_memory() -> bool:
    """Set this in the allocator of the process, once; False where it is not glibc's.

    The process then keeps its peak of memory until it ends.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl and macOS have none, Windows no such load
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, KEPT)) and bool(mallopt(M_TRIM_THRESHOLD, KEPT))
