"""A value that is worked out when it is first asked for, and kept.

What `functools.cached_property` does from Python 3.12 on; that of 3.11 takes a lock each time, and recognition works
out a dozen such values for each message, in one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class once(Generic[_T]):  # noqa: N801 - it is used as `property` is
    """Make an attribute of a method: its value replaces it in the object's own namespace."""

    def __init__(self, method: Callable[[Any], _T]) -> None:
        self._method = method
        self._name = method.__name__
        self.__doc__ = method.__doc__

    def __get__(self, instance: object, owner: type | None = None) -> _T:
        value = instance.__dict__[self._name] = self._method(instance)
        return value
