"""What systemd hears from us, by a socket in its place."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.edge.systemd import notify, watchdog_interval


@pytest.fixture
def manager() -> Iterator[Callable[[str], socket.socket]]:
    sockets: list[socket.socket] = []

    def listen(address: str) -> socket.socket:
        sockets.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        sockets[-1].settimeout(10)
        sockets[-1].bind(address)
        return sockets[-1]

    yield listen
    for each in sockets:
        each.close()


def test_assignments_arrive_in_one_datagram(manager: Callable[[str], socket.socket], tmp_path: Path) -> None:
    """What belongs together is said together, a line for each."""
    systemd = manager(str(tmp_path / "notify"))

    notify("READY=1", "STATUS=Watching 2 of 2 accounts.", environ={"NOTIFY_SOCKET": str(tmp_path / "notify")})

    assert systemd.recv(4_096) == b"READY=1\nSTATUS=Watching 2 of 2 accounts."


def test_abstract_socket_is_reached(manager: Callable[[str], socket.socket]) -> None:
    """A name that begins with @ is one in the abstract namespace, where containers have theirs."""
    name = f"bouncefiler-test-{secrets.token_hex(8)}"
    systemd = manager("\0" + name)

    notify("READY=1", environ={"NOTIFY_SOCKET": "@" + name})

    assert systemd.recv(4_096) == b"READY=1"


def test_text_cannot_smuggle_in_an_assignment(manager: Callable[[str], socket.socket], tmp_path: Path) -> None:
    """A line end in a text does not begin another assignment."""
    systemd = manager(str(tmp_path / "notify"))

    notify("STATUS=a\nREADY=1\r\nb", environ={"NOTIFY_SOCKET": str(tmp_path / "notify")})

    assert systemd.recv(4_096) == b"STATUS=a READY=1 b"


@pytest.mark.parametrize("text", ["STATUS=Grüße", "STATUS=\udcff"])
def test_any_text_can_be_sent(manager: Callable[[str], socket.socket], tmp_path: Path, text: str) -> None:
    """Text goes out as UTF-8, whatever is in it."""
    systemd = manager(str(tmp_path / "notify"))

    notify(text, environ={"NOTIFY_SOCKET": str(tmp_path / "notify")})

    assert systemd.recv(4_096) == text.encode("utf-8", "replace")


@pytest.mark.parametrize(
    "address",
    [
        None,
        "",
        "/nonexistent/notify",
        "relative/notify",
        "vsock:2:1234",
        "/" + 200 * "x",
        "/nul\0",
        "@",
        "/\ud800",
    ],
)
def test_nobody_listening_is_no_trouble(address: str | None) -> None:
    """Without systemd, and with an address that leads nowhere, nothing happens and nothing is raised."""
    notify("READY=1", environ={} if address is None else {"NOTIFY_SOCKET": address})


def test_file_that_is_no_socket_is_no_trouble(tmp_path: Path) -> None:
    """A wrong path is not written to."""
    file = tmp_path / "notify"
    file.touch()

    notify("READY=1", environ={"NOTIFY_SOCKET": str(file)})

    assert file.read_bytes() == b""


def test_relative_path_is_not_an_address(
    manager: Callable[[str], socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what sd_notify(3) allows is taken for systemd, not whatever lies in the current directory."""
    monkeypatch.chdir(tmp_path)
    stranger = manager("notify")
    stranger.settimeout(0)

    notify("READY=1", environ={"NOTIFY_SOCKET": "notify"})

    with pytest.raises(BlockingIOError):
        stranger.recv(4_096)


def test_watchdog_is_fed_at_half_its_time() -> None:
    """WatchdogSec=5min means a ping every 150 seconds."""
    environ = {"WATCHDOG_USEC": "300000000", "WATCHDOG_PID": str(os.getpid())}

    assert watchdog_interval(environ) == 150.0


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "300000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "300000000", "WATCHDOG_PID": "x"},
        {"WATCHDOG_PID": "4711"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "5min"},
        {"WATCHDOG_USEC": "٣"},
        {"WATCHDOG_USEC": "9" * 5_000},
    ],
)
def test_no_watchdog_is_fed_that_nobody_has_set(environ: dict[str, str]) -> None:
    """A watchdog that is not set, not ours, or set to nonsense is none."""
    assert watchdog_interval(environ, pid=4_711) is None


def test_watchdog_without_a_pid_is_ours() -> None:
    """Where no process is named, the watchdog is meant for whoever finds it set (sd_watchdog_enabled(3))."""
    assert watchdog_interval({"WATCHDOG_USEC": "2000000"}, pid=4_711) == 1.0


@given(st.text(), st.text())
def test_any_environment_gives_an_answer(microseconds: str, pid: str) -> None:
    """Whatever is set, the answer is a positive number or none."""
    interval = watchdog_interval({"WATCHDOG_USEC": microseconds, "WATCHDOG_PID": pid})

    assert interval is None or interval > 0
