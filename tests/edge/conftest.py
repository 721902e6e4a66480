"""Servers for the tests of the edge: one of each variant for the whole run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests import dovecot


@pytest.fixture(scope="session")
def dovecots() -> Iterator[Callable[[dovecot.Variant], dovecot.Dovecot]]:
    """Give the server of this variant, started when it is first asked for."""
    dovecot.require()
    started: dict[dovecot.Variant, dovecot.Dovecot] = {}
    with ExitStack() as stack:

        def get(variant: dovecot.Variant) -> dovecot.Dovecot:
            if variant not in started:
                started[variant] = stack.enter_context(dovecot.running(variant))
            return started[variant]

        yield get
