"""Measures messages per second beside flufl.bounce: `python benchmarks/recognition.py [DIR ...]`.

Both judge the same messages, from octets to verdict, in turns, several times over; medians are compared. `--hostile`
prints what mail made to be slow costs for each 64 KiB.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from email import message_from_bytes
from pathlib import Path

from bouncefiler.recognition.classify import examine
from bouncefiler.recognition.rulebook import load

OWN = Path(__file__).parent.parent / "tests" / "mail"
ROUNDS = 7
KIB64 = 65_536
RULEBOOK = load()


def mails(folders: Sequence[Path]) -> list[bytes]:
    """Read all mails below these directories."""
    return [path.read_bytes() for folder in folders for path in sorted(folder.rglob("*.eml"))]


def ours(raw: bytes) -> None:
    """Judge a mail."""
    examine(raw, False, RULEBOOK)  # noqa: FBT003 - mirrors how mail is read


def theirs() -> Callable[[bytes], None] | None:
    """Return what flufl.bounce does with a mail; None when it is not installed."""
    try:
        from flufl.bounce import all_failures  # noqa: PLC0415 - an optional group
    except ImportError:
        return None

    logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL + 1)  # it logs detectors that raise

    def judge(raw: bytes) -> None:
        with contextlib.suppress(Exception):  # it raises on some damaged mail; the time counts all the same
            all_failures(message_from_bytes(raw))

    return judge


def seconds(judge: Callable[[bytes], None], messages: Sequence[bytes]) -> float:
    """Return how much processor time it takes over these messages once: what else the machine does is not counted."""
    gc.collect()
    started = time.process_time()
    for raw in messages:
        judge(raw)
    return time.process_time() - started


def peak() -> float:
    """Return the most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(messages: Sequence[bytes]) -> None:
    """Print messages a second, ours and theirs, in turns."""
    other = theirs()
    judges = {"bouncefiler": ours} | ({"flufl.bounce": other} if other else {})
    spent: dict[str, list[float]] = {name: [] for name in judges}
    for _ in range(ROUNDS):
        for name, judge in judges.items():
            spent[name].append(seconds(judge, messages))
    rates = {name: len(messages) / statistics.median(times) for name, times in spent.items()}
    for name, rate in rates.items():
        print(f"{name:<14}{rate:>8,.0f} messages a second of processor time (median of {ROUNDS})")
    if other is None:
        print("flufl.bounce is not installed: make speed")
    else:
        print(f"ratio {rates['bouncefiler'] / rates['flufl.bounce']:.1f}")


def memory(messages: Sequence[bytes]) -> None:
    """Print the peak after one round and after many."""
    seconds(ours, messages)
    first = peak()
    for _ in range(ROUNDS):
        seconds(ours, messages)
    print(f"memory: {first:.0f} MiB after one round, {peak():.0f} MiB after {ROUNDS + 1}")


_DAEMON = b"From: MAILER-DAEMON@example.net\nReturn-Path: <>\nSubject: Undelivered Mail Returned to Sender\n"
_UNITS = (
    b"a", b" ", b"\n", b"\r", b"\t", b"<", b">", b"@", b"a@", b"a.", b":", b"-", b"=?", b"=?utf-8?B?YQ==?= ", b"&#",
    b"(", b"\\", b"5", b"550 ", b"550 5.1.1 ", b"#5.1.1", b"\x1b$B", b"\xff", b"\xa4\xa2", b" \n", b"X: y\n", b'"',
    b"; a=b", b"<a@b.example>: \n", b"a@b.example ", b"Action: failed\n", b"From: x\nTo: y\n", b"http://", b"<a href=",
    b"<br>", b"<!--", b"--b\n\nx\n", b"--b\nContent-Type: multipart/mixed; boundary=b\n\n",
    b"--b\nContent-Type: text/html\n\n<a href=//x>\n", b"could not be delivered to the following recipients ",
)  # fmt: skip


def hostile_mails() -> dict[str, bytes]:
    """Return mail made to be slow, by name."""
    found: dict[str, bytes] = {}
    for unit in _UNITS:
        run = (unit * (KIB64 // len(unit) + 1))[:KIB64]
        found[f"text {unit!r}"] = _DAEMON + b"\n" + run
        found[f"html {unit!r}"] = _DAEMON + b"Content-Type: text/html\n\n" + run
        found[f"parts {unit!r}"] = _DAEMON + b"Content-Type: multipart/report; boundary=b\n\n" + run
        found[f"status {unit!r}"] = _DAEMON + b"Content-Type: message/delivery-status\n\nAction: failed\n" + run
        found[f"header {unit!r}"] = (
            b"From: MAILER-DAEMON@example.net\nSubject: " + run.replace(b"\n\n", b"\n ") + b"\n\nx"
        )
    nested = b"".join(b"--b%d\nContent-Type: multipart/mixed; boundary=b%d\n\n" % (at, at + 1) for at in range(1_200))
    found["nested"] = _DAEMON + b"Content-Type: multipart/mixed; boundary=b0\n\n" + nested
    pieces = b"".join(b"\n boundary*%d=a;" % at for at in range(4_000))
    found["RFC 2231"] = _DAEMON + b"Content-Type: multipart/report;" + pieces + b"\n\n--b\n"
    recipients = b"".join(b"<u%d@b.example>: host said: 550 no %d\n\n" % (at, at) for at in range(1_600))
    found["recipients"] = _DAEMON + b"\n" + recipients
    found["100,000 parts"] = _DAEMON + b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 100_000
    found["50 MB header"] = b"Subject: " + b"a" * 50_000_000 + b"\n\nx"
    return found


def hostile() -> None:
    """Print the dearest, in milliseconds for each 64 KiB."""
    cost = {
        name: min(seconds(ours, (raw,)) for _ in range(3)) * 1000 / max(1.0, len(raw) / KIB64)
        for name, raw in hostile_mails().items()
    }
    for name in sorted(cost, key=lambda key: -cost[key])[:10]:
        print(f"{cost[name]:8.1f} ms  {name}")


def main(arguments: Sequence[str]) -> None:
    """Run what the arguments name."""
    if "--hostile" in arguments:
        hostile()
        return
    messages = mails([Path(argument) for argument in arguments] or [OWN])
    print(f"{len(messages)} messages, {sum(map(len, messages)) / len(messages):,.0f} octets on average")
    memory(messages)
    compare(messages)


if __name__ == "__main__":
    main(sys.argv[1:])
