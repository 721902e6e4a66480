"""Servers for the proofs, each with a proxy before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from tests import dovecot
from tests.chaos.proxy import Proxy, standing_before
from tests.chaos.rounds import Patient
from tests.dovecot import Dovecot, Variant

Ward = Callable[[Variant], Callable[[], Patient]]


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[Variant], tuple[Dovecot, Proxy]]]:
    """Give the server of this variant and the proxy before it, started when first asked for."""
    dovecot.require()
    started: dict[Variant, tuple[Dovecot, Proxy]] = {}
    with ExitStack() as stack:

        def get(variant: Variant) -> tuple[Dovecot, Proxy]:
            if variant not in started:
                running = stack.enter_context(dovecot.running(variant))
                started[variant] = running, stack.enter_context(standing_before(running.port))
            return started[variant]

        yield get


@pytest.fixture
def ward(servers: Callable[[Variant], tuple[Dovecot, Proxy]], tmp_path: Path) -> Ward:
    """Give, for a variant, what makes new accounts on it."""
    numbers = count()

    def of(variant: Variant) -> Callable[[], Patient]:
        running, proxy = servers(variant)
        return lambda: Patient(running, proxy, tmp_path / f"{next(numbers)}.sqlite3")

    return of
