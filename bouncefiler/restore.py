"""Puts filed messages back where they came from: the sweep's way in the other direction, by the same journal.

What is put back is never filed again: it was filed once, and that is remembered as long as the state file lives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from bouncefiler.errors import FolderMissing
from bouncefiler.filing.plan import Arrival, FilingPolicy, Outcome, Plan
from bouncefiler.filing.undo import FiledMessage, Held, Undo, plan_undo
from bouncefiler.recognition.verdict import Kind, Verdict
from bouncefiler.sweep import (
    Account,
    FolderState,
    Journal,
    Reader,
    Recogniser,
    Report,
    Scope,
    Span,
    Task,
    arrival_of,
    carry_out,
    grouped,
    judge,
    one_by_one,
    plan_loose_ends,
)

_NOTHING = Recogniser(lambda _lean: (), lambda _raw, _cut: (Verdict(Kind.OTHER), ""))
"""Recognises nothing, so that nothing is filed on the way."""


def tie_up(account: Account, journal: Journal) -> Report:
    """Settle what an interrupted run left open, as far as it was done; what was not is left to the next sweep.

    Raises AccountError, StoreBroken.
    """
    entries = journal.open_entries()
    if not entries:
        return Report()
    plan = plan_loose_ends(account, journal, entries, Task(Scope(()), _NOTHING, FilingPolicy()))
    ended = tuple(s for s in plan.settlements if s.outcome is not Outcome.VOID or s.entry.puts_back)
    return carry_out(Plan(settlements=ended), account, journal)


def plan_return(reader: Reader, messages: Sequence[FiledMessage]) -> Undo:
    """Look where these messages are now, and plan to put them back. Raises AccountError."""
    held: dict[str, Held] = {}
    for folder, group in grouped([m for m in messages if not m.undone], lambda message: message.to_folder):
        state = reader.state(folder)
        if state is not None:
            held[folder] = Held(state.uidvalidity, state.uidnext, tuple(_looked_up(reader, state, group)))
    folders = dict.fromkeys(message.ref.folder for message in messages)
    return plan_undo(messages, held, {folder for folder in folders if reader.state(folder) is not None})


def _looked_up(reader: Reader, state: FolderState, messages: Sequence[FiledMessage]) -> Iterator[Arrival]:
    known = {m.to.uid for m in messages if m.to is not None and m.to.uidvalidity == state.uidvalidity}
    yield from (item.arrival for item in judge(reader, state, sorted(known), _NOTHING))
    lost = [m for m in messages if m.to is None or m.to.uidvalidity != state.uidvalidity]
    if lost:
        kept = all(message.to_uidvalidity == state.uidvalidity for message in lost)
        wanted = {message.fingerprint for message in lost}
        for reading in reader.headers(state, min(message.to_uidnext for message in lost) if kept else 1):
            arrival = arrival_of(state, reading)
            if arrival.fingerprint in wanted and reading.uid not in known:
                yield arrival


def of_message_id(reader: Reader, messages: Sequence[FiledMessage], message_id: str) -> tuple[FiledMessage, ...]:
    """Return those of the messages that are still where they were filed and have this Message-ID. Raises AccountError.

    The angle brackets may be missing.
    """
    wanted = _bare(message_id.encode("utf-8", "surrogateescape"))

    def has_it(lean: bytes) -> bool:
        return any(_bare(value) == wanted for value in _MESSAGE_ID.findall(lean))

    found: set[int] = set()
    for folder, group in grouped(messages, lambda message: message.to_folder):
        state = reader.state(folder)
        if state is not None:
            uids = [uid for window in reader.scan(state, Span(), one_by_one(has_it)) for uid in window.suspects]
            alike = {item.arrival.fingerprint for item in judge(reader, state, uids, _NOTHING)}
            found |= {message.id for message in group if message.fingerprint in alike}
    return tuple(message for message in messages if message.id in found)


def _bare(message_id: bytes) -> bytes:
    return message_id.strip().removeprefix(b"<").removesuffix(b">")


_MESSAGE_ID = re.compile(rb"(?im)^message-id:([^\n]*(?:\n[ \t][^\n]*)*)")


def put_back(undo: Undo, account: Account, journal: Journal, stopping: Callable[[], bool]) -> Report:
    """Do what the undo says, each batch written down before it is tried; then look at what the server did not tell.

    `stopping` is asked between batches. Raises AccountError, StoreBroken; the next run of any kind settles the rest.
    """
    report = Report(left=len(undo.stays))
    for batch in undo.batches:
        if stopping():
            break
        target = account.state(batch.to)
        if target is None:
            raise FolderMissing(f"the folder {batch.to!r} has just gone; what is not back yet stays where it was filed")
        journal.intend(batch, target, account.method)
        moved = journal.settle_moved(batch, account.move(batch))
        report += Report(moved=moved, unsettled=len(batch.moves) - moved)
    if not report.unsettled:
        return report
    found_out = tie_up(account, journal)
    return replace(
        report + replace(found_out, settled=0),
        moved=report.moved + found_out.settled,
        unsettled=sum(entry.puts_back for entry in journal.open_entries()),
    )
