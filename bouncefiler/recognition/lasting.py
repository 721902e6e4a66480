"""What is made once and kept as long as the process lasts, such as the tables: the search for cycles passes it over.

While many objects are made, Python looks through all that there are again and again. For the tables that takes longer
than to file them, and finds nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def lasting(make: Callable[[], _T]) -> Callable[[], _T]:
    """Return `make`, for which cycles are not looked for while it works, nor ever in what there is when it is done.

    Afterwards they are, whether or not they were before: of two threads at work one may have found the search off.
    """

    def made() -> _T:
        gc.disable()
        try:
            return make()
        finally:
            gc.freeze()
            gc.enable()

    return made
