"""A hundred accounts in one process: threads and memory stay as they are, and polls do not come all at once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from bouncefiler.service.timetable import MOST_WORKERS
from tests import dovecot
from tests.dovecot import Dovecot, Mail, Variant
from tests.service.bench import FIVE_MINUTES, HOUR, Bench

ACCOUNTS = 100
ROUNDS = 3
PATIENCE = 120.0

BOUNCE = (Path(__file__).parent.parent / "mail" / "postfix" / "delayed.eml").read_bytes()


def test_polls_are_spread_out(bench: Bench) -> None:
    """Each account is looked at in its interval, and never more than a few in the same second."""
    accounts = [bench.watch(f"account{number}") for number in range(ACCOUNTS)]

    bench.start(HOUR)

    assert all(11 <= len(account.runs) <= 13 for account in accounts)
    assert all(gap >= FIVE_MINUTES.total_seconds() for account in accounts for gap in account.gaps)
    at_once = Counter(int(moment) for account in accounts for moment in account.runs)
    assert max(at_once.values()) <= ACCOUNTS // 5


@contextmanager
def _service(server: Dovecot, users: list[str], home: Path) -> Iterator[subprocess.Popen[bytes]]:
    tables = "".join(
        f'[accounts.{user}]\nhost = "127.0.0.1"\nport = {server.port}\nuser = "{user}"\nsecurity = "plain"\n'
        'poll_interval = "1d"\npassword_from = { environment = "TEST_PASSWORD" }\n'
        for user in users
    )
    config = home / "config.toml"
    config.write_text(f'state_dir = "{home}/state"\ndns = false\n{tables}')
    command = [sys.executable, "-m", "bouncefiler", "--config", str(config), "run"]
    with (home / "said").open("wb") as said:
        process = subprocess.Popen(
            command, env={**os.environ, "TEST_PASSWORD": dovecot.PASSWORD}, stdout=said, stderr=said
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _status(process: subprocess.Popen[bytes], what: str) -> int:
    text = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(rf"^{what}:\s*(\d+)", text, re.MULTILINE)
    assert found, text
    return int(found[1])


def _await(condition: Callable[[], bool], process: subprocess.Popen[bytes], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, "the service has ended"
        assert time.monotonic() < end, f"{what}: did not happen in time"
        time.sleep(0.1)


@pytest.mark.dovecot
def test_a_hundred_accounts_stay_flat_in_memory_and_threads(tmp_path: Path) -> None:
    """All wait for news in one process; round after round of bounces is filed in each, and nothing grows with them."""
    dovecot.require()
    with dovecot.running(Variant()) as server:
        users = [server.new_user() for _ in range(ACCOUNTS)]

        def all_filed(number: int) -> bool:
            return sum(1 for _ in (server.base / "home").glob("*/Maildir/.Bounces/*/*")) == number

        with _service(server, users, tmp_path) as process:
            memory, threads = [], []
            for number in range(ROUNDS):
                for user in users:
                    server.mailbox(user).deliver(Mail(b"X-Number: %d\r\n" % number + BOUNCE))
                _await(partial(all_filed, (number + 1) * ACCOUNTS), process, f"round {number}")
                memory.append(_status(process, "VmRSS"))
                threads.append(_status(process, "Threads"))
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, (tmp_path / "said").read_text()
        assert server.log().count("Login:") == ACCOUNTS * (1 + ROUNDS)  # ours, and those that delivered

    # the service's own, the one that waits for all sockets, and the one that hears signals
    assert max(threads) <= MOST_WORKERS + 3
    assert memory[-1] - memory[0] < 5_000, f"kB after each round: {memory}"
