"""Does the state file stay fast and small? One with a million bounces and sent messages, beside one of ten thousand.

    python -m benchmarks.state [BOUNCES]

The rows are written by the store's own methods, as the runs of thirteen months would have written them. Quote the
ratios: the milliseconds are those of one machine. A million takes some minutes, and about a gigabyte for a while.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bouncefiler.backscatter import advice, volume
from bouncefiler.backscatter.domains import Offline
from bouncefiler.backscatter.provenance import Attribution, Provenance, Reason
from bouncefiler.edge.memory import Folder, MemoryAccount, Stored
from bouncefiler.edge.store import KEPT, Store, StoreReader, open_for_reading, open_store
from bouncefiler.filing.plan import Arrival, FilingPolicy, Judged, MessageRef, Method, Move, MoveBatch, Plan, Watermark
from bouncefiler.lookout import Lookout
from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.outgoing import Outgoing
from bouncefiler.recognition.verdict import Cause, Kind, Original, Recipient, Verdict
from bouncefiler.report.chronicle import MAX_DEAD, MAX_STRANGERS
from bouncefiler.sent import SentMark
from bouncefiler.settings import Account, EnvironmentVariable, Server
from bouncefiler.sweep import FolderState, Moved, Recogniser, Report, Scope, Task, clean

FEW, MANY = 10_000, 1_000_000
TIMES = 5
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SPAN = 390 * DAY
"""Over which the mail is spread: none of it is old enough to be folded into totals."""
OF_A_RUN = 1_000
UIDVALIDITY = 1_000
ACCOUNT = Account("bench", Server("mail.example.org", 993, "you@example.org"), EnvironmentVariable("NONE"))
TARGET = FolderState("Bounces", 7, 1, 0)

_CAUSES = (Cause.USER_UNKNOWN, Cause.MAILBOX_FULL, Cause.CONTENT_REJECTED, Cause.UNKNOWN)
_FOUND = (
    Attribution(Provenance.GENUINE, Reason.HAS_ID | Reason.IN_SENT),
    Attribution(Provenance.UNKNOWN, Reason.HAS_ID),
    Attribution(Provenance.FORGED, Reason.HAS_ID | Reason.REFUSED_AS_FORGED),
)


# ── the rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def fill(store: Store, number: int, now: datetime = NOW) -> None:
    """Have so many bounces filed, and so many messages sent, in the SPAN before now."""
    for first in range(0, number, OF_A_RUN):
        uids = range(first + 1, min(first + OF_A_RUN, number) + 1)
        _file(store, uids, now - SPAN + SPAN * uids[-1] / (number + 1), now - SPAN + SPAN * first / (number + 1))
        _send(store, uids, now, number)


def _file(store: Store, uids: range, ended: datetime, began: datetime) -> None:
    """Write what one run writes: a batch of moves, their end, and who sent what came back."""
    store.begin_run("run", ended)
    items = [_bounce(uid, began + (ended - began) * place / len(uids)) for place, uid in enumerate(uids)]
    moves = tuple(Move(item, "failed", by_rule=False) for item in items)
    batch = MoveBatch("INBOX", UIDVALIDITY, "Bounces", moves, uids[-1] + 1)
    store.intend(batch, TARGET, Method.MOVE)
    with store.at_once():
        store.settle_moved(batch, Moved(TARGET.uidvalidity, {uid: uid for uid in uids}))
        store.finish(Plan(watermark=Watermark("INBOX", UIDVALIDITY, uids[-1])))
    waiting = store.pending(ended, OF_A_RUN)
    store.attribute(((one, _FOUND[place % 3], True) for place, one in enumerate(waiting)), ended)
    store.end_run(ended, Report(scanned=len(uids), moved=len(uids)))


def _bounce(uid: int, received_at: datetime) -> Judged:
    fingerprint = Fingerprint(hashlib.sha256(b"%d" % uid).hexdigest()[:32])
    arrival = Arrival(MessageRef("INBOX", UIDVALIDITY, uid), fingerprint, received_at, 5_000)
    recipient = Recipient(f"person{uid % 50_000}@example.net", cause=_CAUSES[uid % 4])
    original = Original(message_id=f"<{uid}@example.org>", from_="You <you@example.org>")
    verdict = Verdict(Kind.FAILED, recipient.cause, (recipient,), original=original, sent_to="you@example.org")
    return Judged(arrival, verdict, "Undelivered Mail Returned to Sender")


def _send(store: Store, numbers: range, now: datetime, of: int) -> None:
    mails = [
        Outgoing(
            hashlib.sha256(b"sent %d" % number).digest()[:8],
            int((now - SPAN + SPAN * number / (of + 1)).timestamp()),
            1,
            mailing=False,
            contacts=(hashlib.sha256(b"contact %d" % number).digest()[:8],),
            habits=(("from", "you@example.org"), ("id-domain", "example.org")),
        )
        for number in numbers
    ]
    store.keep_sent(SentMark("Sent", 5, 1, numbers[-1], now - SPAN, now), mails, now)


# ── the questions ────────────────────────────────────────────────────────────────────────────────────────────────────


class Nobody:
    """Looks on, and lets everything happen."""

    def check(self, _plan: Plan) -> None:
        """See sweep.Watcher."""

    def done(self, _plan: Plan, _report: Report) -> None:
        """See sweep.Watcher."""

    def stopping(self) -> bool:
        """See sweep.Watcher."""
        return False


def sweep(store: Store, now: datetime, bounces: int = 1, number: int = 1) -> Report:
    """Have new bounces come, and look at the account as the service and `clean` do; `number` tells them from others."""
    mark = store.watermark("INBOX")
    first = mark.last_uid + 1 if mark else 1
    account = MemoryAccount({"INBOX": Folder(UIDVALIDITY, first), "Bounces": Folder(TARGET.uidvalidity, first)})
    for at in range(bounces):
        account.folders["INBOX"].add(Stored(b"Received: %d/%d\r\nSubject: bounce\r\n\r\n" % (number, at), now))
    task = Task(Scope(("INBOX",)), Recogniser(lambda messages: range(len(messages)), _examine), FilingPolicy())
    store.begin_run("run", now)
    report = clean(account, store, task, Nobody())
    store.looked(now)
    store.end_run(now, report)
    reader = advice.Reader(ACCOUNT.address, "Bounces", "en")
    lookout = Lookout(ACCOUNT, store, Offline, reader, ("log",))
    lookout.inquire(lambda _ids: frozenset(), now, lambda: False)
    lookout.watch(now)
    store.tidy(now)
    return report


def _examine(raw: bytes, _cut: bool) -> tuple[Verdict, str]:  # noqa: FBT001 - the protocol's shape
    told = raw[10:40].split(b"\r")[0].decode()
    return _bounce(1, NOW).verdict, f"Undelivered mail {told}"


def quiet(store: Store) -> None:
    """Ask what a poll asks when nothing has come."""
    store.open_entries()
    store.watermark("INBOX")


def told(store: StoreReader, now: datetime) -> None:
    """Ask what `status` and `report` ask (app.chronicle)."""
    store.daily((now - 29 * DAY).date())
    volume.past_waves(store.past(now - KEPT), now)
    store.last_look(), store.incidents(50), store.told(50), store.undelivered(), store.watched_since()
    store.filed_by_folder(), store.filed_count(now - DAY), store.filed_count(now - 7 * DAY)
    store.latest_dead(MAX_DEAD, MAX_STRANGERS)


def status(path: Path, now: datetime) -> None:
    """Open the file, and ask that."""
    with open_for_reading(path) as store:
        told(store, now)


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Row:
    """One question: its milliseconds, and for the sizes megabytes."""

    name: str
    figure: float
    unit: str = "ms"


def timed(name: str, ask: Callable[[int], object], times: int = TIMES) -> Row:
    """Ask so many times; return the median."""
    took = []
    for number in range(times):
        begun = time.perf_counter()
        ask(number)
        took.append(time.perf_counter() - begun)
    return Row(name, statistics.median(took) * 1e3)


def measure(path: Path, number: int) -> Iterator[Row]:
    """Fill a store, ask it everything, then let most of it grow old."""
    with open_store(path, holder="bench") as store:
        fill(store, number)
    yield Row("state file", path.stat().st_size / 1e6, "MB")
    yield timed("open to write", lambda _n: open_store(path, holder="bench").close())
    yield timed("open to read", lambda _n: open_for_reading(path).close())
    with open_store(path, holder="bench") as store:
        yield timed("poll, nothing new", lambda _n: quiet(store), 50)
        yield timed("poll, one bounce", lambda n: sweep(store, NOW + n * DAY / 1_440, number=n))
        yield timed("clean, 2,000 bounces", lambda n: sweep(store, NOW + n * DAY / 24, 2_000, 100 + n), 3)
        yield timed("tidy, nothing to do", lambda _n: store.tidy(NOW + DAY))
    yield timed("status and report", lambda _n: status(path, NOW), 3)
    with open_store(path, holder="bench") as store:
        before = _totals(store)
        yield timed("tidy, ten days late", lambda _n: store.tidy(NOW - SPAN + KEPT + 10 * DAY), 1)
        yield timed("tidy, half a year late", lambda _n: store.tidy(NOW - SPAN + KEPT + 182 * DAY), 1)
        store.tidy(NOW + KEPT + DAY)
        if _totals(store) != before:
            raise AssertionError("the totals of the days are not what they were")
    yield Row("state file, all forgotten", path.stat().st_size / 1e6, "MB")


def _totals(store: Store) -> Sequence[object]:
    return store.daily((NOW - 2 * SPAN).date())


def main(many: int = MANY) -> None:
    """Print the figures of both stores, and how many times the one is the other."""
    with tempfile.TemporaryDirectory() as place:
        columns = [list(measure(Path(place, str(number)), number)) for number in (FEW, many)]
    print(f"{'':28} {FEW:>12,} {many:>12,} {'ratio':>8}")
    for few, more in zip(*columns, strict=True):
        print(f"{few.name + ', ' + few.unit:28} {few.figure:12.2f} {more.figure:12.2f} {more.figure / few.figure:8.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
