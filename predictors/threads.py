"""How many threads linear algebra takes in processes that are started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# What tells the libraries of linear algebra.
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Have processes that are started use one thread each, unless the user says otherwise.

    Matrices are small here, and threads wait for each other with all their might: where cores are busy with something
    else, a fit takes ten to fifty times as long with several.
    """
    added = [name for name in VARIABLES if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
