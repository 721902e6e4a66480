"""In CI nothing may be skipped: a test that did not run has shown nothing. And none fails because a machine is busy."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings

from tests import dovecot, servers

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

CI = bool(os.environ.get("CI"))


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        _, _, reason = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, str(report.longrepr))
        report.outcome = "failed"
        report.longrepr = f"{reason} (CI accepts no skipped test)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(report)
    return report


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


@pytest.fixture(scope="session")
def others() -> Iterator[Callable[[str], dovecot.Dovecot]]:
    """Give Courier or Cyrus, started when it is first asked for."""
    started: dict[str, dovecot.Dovecot] = {}
    with ExitStack() as stack:

        def get(name: str) -> dovecot.Dovecot:
            servers.require(name)
            if name not in started:
                started[name] = stack.enter_context(servers.OTHERS[name]())
            return started[name]

        yield get
