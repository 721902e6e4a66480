"""Accounts for the proofs, on servers with a proxy before them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from tests.chaos.processes import Program
from tests.chaos.proxy import Proxy, standing_before
from tests.chaos.rounds import Patient
from tests.dovecot import Dovecot, Variant

Ward = Callable[[Variant], Callable[[], Patient]]
Rehearsed = Callable[[Variant], list[str]]


@pytest.fixture(scope="session")
def watched(
    dovecots: Callable[[Variant], Dovecot],
) -> Iterator[Callable[[Variant], tuple[Dovecot, Proxy]]]:
    """Give the server of this variant, and a proxy before it."""
    started: dict[Variant, Proxy] = {}
    with ExitStack() as stack:

        def get(variant: Variant) -> tuple[Dovecot, Proxy]:
            running = dovecots(variant)
            if variant not in started:
                started[variant] = stack.enter_context(standing_before(running.port))
            return running, started[variant]

        yield get


@pytest.fixture(scope="session")
def rehearsed(
    watched: Callable[[Variant], tuple[Dovecot, Proxy]], tmp_path_factory: pytest.TempPathFactory
) -> Rehearsed:
    """Give the commands of an undisturbed run on this variant: what faults are aimed at."""

    @cache
    def conversation(variant: Variant) -> list[str]:
        return Patient(*watched(variant), tmp_path_factory.mktemp("rehearsal") / "home.sqlite3").rehearse()

    return conversation


@pytest.fixture(scope="session")
def performed(
    watched: Callable[[Variant], tuple[Dovecot, Proxy]], tmp_path_factory: pytest.TempPathFactory
) -> Rehearsed:
    """Give the commands of the program itself, which takes larger steps."""

    @cache
    def conversation(variant: Variant) -> list[str]:
        patient = Patient(*watched(variant), tmp_path_factory.mktemp("rehearsal") / "home.sqlite3")
        patient.leave()
        patient.proxy.arm(None)
        assert Program(patient).run("clean")[0] == 0
        return patient.proxy.commands()

    return conversation


@pytest.fixture
def ward(watched: Callable[[Variant], tuple[Dovecot, Proxy]], tmp_path: Path) -> Iterator[Ward]:
    """Give, for a variant, what makes new accounts on it."""
    patients: list[Patient] = []

    def of(variant: Variant) -> Callable[[], Patient]:
        running, proxy = watched(variant)

        def admit() -> Patient:
            room = tmp_path / str(len(patients))
            room.mkdir()
            patients.append(Patient(running, proxy, room / "home.sqlite3"))
            return patients[-1]

        return admit

    yield of
    for patient in patients:
        patient.leave()
