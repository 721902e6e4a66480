"""An account that is read."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice, pairwise
from typing import Any, Self, TypeVar

from bouncefiler import __version__
from bouncefiler.edge.imap.commands import Command, Fetch, Leave, Number, Parts, Refused, Reply
from bouncefiler.edge.imap.fetched import Fetched
from bouncefiler.edge.imap.idle import IdlePipe
from bouncefiler.edge.imap.login import Client, Dial, dial_server, log_in
from bouncefiler.edge.imap.names import HOLDS_NOTHING, FolderInfo, Names, briefly, encoded, listed, names_of, quoted
from bouncefiler.edge.imap.replies import exists_in, fetch, flags_of, number_in, permanent_flags, reading_of
from bouncefiler.edge.imap.scan import Lean, Scan
from bouncefiler.edge.imap.trouble import FOREIGN, in_our_words, plain, refusal
from bouncefiler.errors import AccountError, FolderRenumbered, Throttled, Unreachable
from bouncefiler.recognition.identity import MAX_HEADER_OCTETS
from bouncefiler.settings import Compress, Server
from bouncefiler.sweep import FolderState, Reading, Span, Suspects, Window

WINDOW = 5_000
"""Messages in one scan command."""

READ_AT_ONCE = 250
"""Messages in one command that reads their header blocks or first octets."""

OCTETS_AT_ONCE = 8 * 1024 * 1024
"""Octets of messages in one command: the answers to two of them may be held."""

MAX_REFUSALS = 100
"""How many FETCH commands of one call the server may refuse before we believe that it is not about single messages."""

SLOW = 0.005
"""Seconds for a question and its answer from which on a line is worth compressing: no local network takes as long."""

_LEAN_FIELDS = b"BODY.PEEK[HEADER.FIELDS (FROM SUBJECT CONTENT-TYPE MESSAGE-ID)]"

_GOODBYE_SECONDS = 5.0


log = logging.getLogger(__name__)

T = TypeVar("T")

C = TypeVar("C", bound=Command[Any])


def open_reader(server: Server, password: str, dial: Dial | None = None) -> ImapReader:
    """Log in to an account in order to read it: what comes back cannot change anything.

    Raises Unreachable, Throttled, Untrusted, LoginRefused, AccountError.
    """
    return ImapReader(server, log_in(server, password, dial or dial_server))


@dataclass(frozen=True, slots=True)
class Selected:
    """The selected folder, as it was when it was selected."""

    state: FolderState
    verb: bytes
    """SELECT or EXAMINE (RFC 3501, 6.3.2)."""
    sticky: bool
    """Whether it keeps its UIDs from one session to the next."""
    writable: bool
    deletable: bool


@dataclass(frozen=True, slots=True)
class Vigil:
    """A watch that has begun."""

    fileno: int | None
    """The descriptor that can be read when the server says something; None when something has come already."""


class ImapReader:
    """An account that is read (EXAMINE, BODY.PEEK): see sweep.Reader. A context manager, which logs out at its end."""

    _VERB = b"EXAMINE"

    def __init__(self, server: Server, client: Client, first: str = "") -> None:
        """Take over a client that has just logged in; `first` is the folder that will be opened first, if known."""
        self._server = server
        self._client = client
        self._pipe = IdlePipe(client.transport.wire)
        self._capabilities = frozenset(client.transport.capabilities)
        self._selected: Selected | None = None
        self._opening: Reply | None = None
        """The answer to the opening of INBOX, which nobody has asked for yet."""
        self._verb = self._VERB
        self._names = Names()
        self.window = WINDOW
        try:
            self._introduce(opens_inbox=first.upper() == "INBOX")
        except BaseException:
            client.shutdown()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Log out, where that can still be done, and hang up. Never CLOSE, which would expunge; never raises."""
        last = [b"UNSELECT"] if self._selected and "UNSELECT" in self._capabilities else []
        with suppress(*FOREIGN):
            self._client.transport.wire.source.timeout = _GOODBYE_SECONDS
            self._pipe.attend()
            if self._pipe.idle and not self._pipe.broken:
                self._pipe.send(*(Leave(text) for text in (*last, b"LOGOUT")))
                self._pipe.drain()
        self._pipe.broken = True
        self._client.shutdown()

    def watch(self, state: FolderState) -> Vigil | None:
        """Have the server tell when something comes to the folder (IDLE); None when it cannot. Any call ends it.

        To be ended and begun anew every few minutes: a connection that says nothing may be dead (RFC 2177, and NAT).
        """
        if "IDLE" not in self._capabilities:
            return None
        selected = self._select(state.folder)
        now = selected.state if selected else None
        if now is None or (now.uidvalidity, now.uidnext) != (state.uidvalidity, state.uidnext):
            return Vigil(None)
        with in_our_words(self._server):
            silent = self._pipe.watch()
        if silent is None:
            self._capabilities -= {"IDLE"}
            return None
        return Vigil(self._client.transport.wire.fileno() if silent else None)

    def attend(self) -> bool:
        """End the watch, if there is one; say whether the server told of new messages meanwhile."""
        with in_our_words(self._server):
            return self._pipe.attend()

    def noop(self) -> None:
        """Keep the connection alive. Raises Unreachable when it is dead."""
        self._demand("keep the connection", b"NOOP")

    def folders(self) -> tuple[FolderInfo, ...]:
        """List all folders by the names that the configuration takes."""
        return self._folders_in(self._demand("list the folders", self._list("*")))

    def _folders_in(self, reply: Reply) -> tuple[FolderInfo, ...]:
        found = {self._names.to_user(name): flags for name, flags in listed(reply.lines)}
        folders = (FolderInfo(name, flags) for name, flags in found.items())
        return tuple(sorted(folders, key=lambda folder: (folder.name != "INBOX", folder.name.casefold())))

    def changed(self, state: FolderState) -> bool:
        """Say whether messages have come since `state` was taken, or the folder is another one. One round trip."""
        commands = [b"STATUS %s (UIDNEXT UIDVALIDITY)" % briefly(self._names.to_server(state.folder))]
        if self._selected and "UNSELECT" in self._capabilities:  # STATUS is for folders not selected (RFC 3501, 6.3.10)
            self._selected = None
            commands.insert(0, b"UNSELECT")
        elif self._selected:
            commands.insert(0, b"NOOP")
        answer = self._ask(*commands)[-1]
        return (number_in(answer, b"UIDVALIDITY"), number_in(answer, b"UIDNEXT")) != (state.uidvalidity, state.uidnext)

    def state(self, folder: str) -> FolderState | None:
        """See sweep.Reader."""
        selected = self._select(folder)
        return selected.state if selected else None

    def scan(self, state: FolderState, span: Span, suspects: Suspects) -> Iterator[Window]:
        """See sweep.Reader. The next window is on its way while this one is worked on."""
        items = (b"UID INTERNALDATE " if span.since else b"UID ") + _LEAN_FIELDS

        def send(uids: Sequence[int]) -> Command[Lean]:
            at_most = min(len(uids), 4 * self.window)
            scan = Scan(fetch(uids, items), uids[0], uids[-1], at_most, suspects, span.since)
            return self._send(scan, state)

        reached = span.first_uid - 1
        for uids, lean in self._each(self._ranges(state, span.first_uid, self.window), send):
            reached = uids[-1]
            yield Window(lean.scanned, reached, lean.suspects)
        if reached < state.uidnext - 1:
            yield Window(0, state.uidnext - 1, ())

    def read(self, state: FolderState, uids: Sequence[int], octets: int) -> Iterator[Reading]:
        """See sweep.Reader."""
        wanted, most = sorted(set(uids)), max(1, min(READ_AT_ONCE, OCTETS_AT_ONCE // max(1, octets)))
        chunks = [wanted[start : start + most] for start in range(0, len(wanted), most)]
        return self._readings(state, chunks, b"BODY[]", octets)

    def parts(self, state: FolderState, uids: Sequence[int]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """See sweep.Reader."""

        def send(some: Sequence[int]) -> Command[Fetched]:
            return self._send(Parts(fetch(some, b"UID BODY"), frozenset(some)), state)

        wanted = sorted(set(uids))
        chunks = [wanted[start : start + READ_AT_ONCE] for start in range(0, len(wanted), READ_AT_ONCE)]
        return self._told(self._each(chunks, send))

    def _told(self, answers: Iterable[tuple[Sequence[int], Fetched]]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield what is told; a server that refuses to tell has told nothing, and is asked for the messages instead."""
        try:
            for _, item in answers:
                if item.uid is not None and item.parts is not None:
                    yield item.uid, item.parts
        except AccountError as exc:
            if self._pipe.broken or isinstance(exc, Throttled | FolderRenumbered):
                raise
            log.debug("%s does not say of which parts messages consist: %s", self._server.host, exc)

    def headers(self, state: FolderState, first_uid: int) -> Iterator[Reading]:
        """See sweep.Reader."""
        now = self._opened(state.folder, state.uidvalidity, anew=True).state  # with the UIDNEXT of this moment
        ranges = self._ranges(now, first_uid, READ_AT_ONCE)
        return self._readings(now, ranges, b"BODY[HEADER]", MAX_HEADER_OCTETS)

    def _introduce(self, *, opens_inbox: bool) -> None:
        """Say who we are, which some servers want before anything else (163.com), and learn how they name folders.

        INBOX has the same name everywhere: if it is what comes next, it is opened in the same go.
        """
        commands = []
        if "ID" in self._capabilities:  # RFC 2971
            commands.append(b'ID ("name" "bouncefiler" "version" %s)' % quoted(__version__.encode()))
        if "NAMESPACE" in self._capabilities:
            commands.append(b"NAMESPACE")
        else:
            commands.append(b'LIST "" ""')
        if opens_inbox:
            commands.append(self._verb + b' "INBOX"')
        begun = time.monotonic()
        with in_our_words(self._server):
            asked = self._pipe.begin(*commands)
            self._pipe.end(asked[:1])
            round_trip = time.monotonic() - begun  # to open a large folder takes longer
            last = self._pipe.end(asked)[-1]
        self._names = names_of(last.lines)
        self._opening = last if opens_inbox else None
        self._compress(round_trip)

    def _compress(self, round_trip: float) -> None:
        """Have both directions compressed (RFC 4978), where that is wanted and offered. Comes after login, always."""
        transport = self._client.transport
        if "COMPRESS=DEFLATE" not in self._capabilities:
            return
        if not compressing(self._server.compress, near=transport.near, round_trip=round_trip):
            return
        reply = self._ask(b"COMPRESS DEFLATE")[0]
        if reply.status == "OK":
            transport.wire.compress()
        else:
            log.debug("%s offers to compress and refuses it: %s", self._server.host, plain(reply.text))

    def _ranges(self, state: FolderState, first_uid: int, most: int) -> list[Sequence[int]]:
        """Cut the folder, from this UID on, into ranges of UIDs of about `most` messages each."""
        end = state.uidnext
        if first_uid >= end or not state.exists:
            return []
        if end - first_uid <= 2 * most:
            cuts: Iterable[int] = ()
        elif end - 1 <= 2 * state.exists:
            cuts = range(first_uid + most, end, most)
        else:  # where UIDs are sparse, ranges of equal width would be many and nearly empty
            cuts = self._cuts(state, most)
        edges = [first_uid, *sorted({cut for cut in cuts if first_uid < cut < end}), end]
        return [range(*edge) for edge in pairwise(edges)]

    def _cuts(self, state: FolderState, most: int) -> list[int]:
        """Return the UID of every `most`-th message. Sequence numbers change with any answer, hence the new SELECT."""
        exists = self._opened(state.folder, state.uidvalidity, anew=True).state.exists
        numbers = range(1 + most, exists + 1, most)
        found: list[int] = []
        for start in range(0, len(numbers), 500):
            text = b",".join(b"%d" % number for number in numbers[start : start + 500])
            found.extend(self._uids(b"FETCH %s (UID)" % text))
        return found

    def _readings(
        self, state: FolderState, chunks: Iterable[Sequence[int]], section: bytes, octets: int
    ) -> Iterator[Reading]:
        part = b"" if section == b"BODY[HEADER]" else b"<0.%d>" % octets
        items = b"UID INTERNALDATE RFC822.SIZE FLAGS " + section.replace(b"BODY", b"BODY.PEEK") + part

        def send(uids: Sequence[int]) -> Command[Fetched]:
            at_most = min(len(uids), 4 * READ_AT_ONCE)
            wanted = uids if isinstance(uids, range) else frozenset(uids)
            return self._send(Fetch(fetch(uids, items), section, wanted, at_most, octets), state)

        return _each_once(self._each(chunks, send))

    def _each(
        self, jobs: Iterable[Sequence[int]], send: Callable[[Sequence[int]], Command[T]]
    ) -> Iterator[tuple[Sequence[int], T]]:
        """Yield what comes of each job (UIDs to ask for), always with the next one on its way.

        The first two are sent at once, not only when somebody wants the first answer.
        """
        turns = self._in_turn(jobs, send)
        return (item for _, answers in turns for item in answers)

    def _in_turn(
        self, jobs: Iterable[Sequence[int]], send: Callable[[Sequence[int]], Command[T]]
    ) -> Iterator[tuple[Sequence[int], Iterator[tuple[Sequence[int], T]]]]:
        """Yield each job with what comes of it and its parts, always with the next job on its way; see `_each`."""
        left = iter(jobs)
        ahead = deque((job, send(job)) for job in islice(left, 2))
        return self._turns(ahead, left, send)

    def _turns(
        self,
        ahead: deque[tuple[Sequence[int], Command[T]]],
        left: Iterator[Sequence[int]],
        send: Callable[[Sequence[int]], Command[T]],
    ) -> Iterator[tuple[Sequence[int], Iterator[tuple[Sequence[int], T]]]]:
        refusals = count(1)
        try:
            while ahead:
                yield ahead[0][0], self._answered(*ahead[0], send, refusals)
                ahead.popleft()
                ahead.extend((job, send(job)) for job in islice(left, 1))
        finally:
            for _, command in ahead:
                command.forget()

    def _answered(
        self,
        job: Sequence[int],
        command: Command[T],
        send: Callable[[Sequence[int]], Command[T]],
        refusals: Iterator[int],
    ) -> Iterator[tuple[Sequence[int], T]]:
        """Yield what comes of one job; what is refused is asked for again in halves, and single messages are given up.

        Yahoo refuses some messages for ever, and with them each command that asks for them ([UNAVAILABLE]).
        """
        try:
            for item in self._answers(command):
                yield job, item
        except Refused as exc:
            error = self._refusal("let mail be read", exc.reply)
            if exc.reply.status == "BAD" or isinstance(error, Throttled) or next(refusals) > MAX_REFUSALS:
                raise error from exc
            if len(job) == 1:
                log.warning("UID %d is left out: %s", job[0], error)
                return
            for half in (job[: len(job) // 2], job[len(job) // 2 :]):
                yield from self._answered(half, send(half), send, refusals)

    def _answers(self, command: Command[T]) -> Iterator[T]:
        with in_our_words(self._server):
            yield from self._pipe.answers(command)

    def _send(self, command: C, state: FolderState) -> C:
        self._opened(state.folder, state.uidvalidity)
        with in_our_words(self._server):
            self._pipe.send(command)
        return command

    def _opened(self, folder: str, uidvalidity: int, *, anew: bool = False) -> Selected:
        """Have the folder selected; raise FolderRenumbered when its UIDs are others than they were."""
        selected = self._selected
        if anew or selected is None or (selected.state.folder, selected.verb) != (folder, self._verb):
            selected = self._select(folder)
        if selected is None or selected.state.uidvalidity != uidvalidity:
            now = f"now {selected.state.uidvalidity}" if selected else "now there is no such folder"
            raise FolderRenumbered(
                f"the server has numbered the messages of {folder!r} anew (UIDVALIDITY was {uidvalidity}, {now}); "
                "nothing was moved on the old numbers, the next run reads the folder again"
            )
        return selected

    def _select(self, folder: str) -> Selected | None:
        name = self._names.to_server(folder)
        with in_our_words(self._server):
            self._pipe.drain()  # UIDs of the old folder are not to be taken for those of the new one
        self._selected = None  # RFC 3501, 6.3.1: nor is the old one any more, whatever the answer
        reply, self._opening = self._opening, None
        if reply is None or reply.status != "OK" or (name, self._verb) != ("INBOX", self._VERB):
            reply = self._ask(self._verb + b" " + encoded(name))[0]
        if reply.status != "OK":
            error = self._refusal(f"open the folder {folder!r}", reply)
            if isinstance(error, Unreachable) or not self._missing(name):
                raise error
            return None
        self._selected = self._described(folder, reply)
        return self._selected

    def _described(self, folder: str, reply: Reply) -> Selected:
        uidvalidity, exists = number_in(reply, b"UIDVALIDITY"), exists_in(reply)
        if not uidvalidity:
            raise AccountError(
                f"{self._server.host} gives no UIDVALIDITY for {folder!r}: messages cannot be known again from one run "
                "to the next, so bouncefiler keeps away from this server"
            )
        uidnext = number_in(reply, b"UIDNEXT")
        if uidnext is None:
            uidnext = max(self._uids(b"UID FETCH * (UID)"), default=0) + 1 if exists else 1
        flags = permanent_flags(reply)
        return Selected(
            FolderState(folder, uidvalidity, uidnext, exists),
            self._verb,
            sticky=not any(b"[UIDNOTSTICKY]" in line.upper() for line in reply.lines),
            writable=reply.code != "READ-ONLY",
            deletable=flags is None or b"\\DELETED" in flags.upper().split(),
        )

    def _uids(self, command: bytes) -> list[int]:
        """Return the UIDs that a FETCH (UID) brings."""
        with in_our_words(self._server):
            number = Number(command)
            self._pipe.send(number)
        try:
            return list(self._answers(number))
        except Refused as exc:
            raise self._refusal("number its messages", exc.reply) from exc

    def _missing(self, name: str) -> bool:
        flags = flags_of(name, self._demand("list its folders", self._list(name)))
        return flags is None or bool(flags & HOLDS_NOTHING)

    def _list(self, pattern: str) -> bytes:
        special = {"SPECIAL-USE", "LIST-EXTENDED"} <= self._capabilities  # RFC 6154, 2
        return b'LIST "" ' + encoded(pattern) + (b" RETURN (SPECIAL-USE)" if special else b"")

    def _ask(self, *commands: bytes) -> tuple[Reply, ...]:
        with in_our_words(self._server):
            return self._pipe.ask(*commands)

    def _demand(self, doing: str, command: bytes) -> Reply:
        reply = self._ask(command)[0]
        if reply.status != "OK":
            raise self._refusal(doing, reply)
        return reply

    def _refusal(self, doing: str, reply: Reply) -> AccountError:
        return refusal(self._server, doing, reply.text)


def _each_once(items: Iterable[tuple[Sequence[int], Fetched]]) -> Iterator[Reading]:
    seen: set[int] = set()
    last = 0
    for uids, item in items:
        if uids[0] > last:  # otherwise it is a part of the same job, asked for again after a refusal
            seen.clear()
            last = uids[-1]
        reading = reading_of(item)
        if reading and reading.uid not in seen:
            seen.add(reading.uid)
            yield reading


def compressing(wanted: Compress, *, near: bool, round_trip: float) -> bool:
    """Say whether to compress what a server sends that is `near`, on this machine, and answers in so many seconds."""
    return wanted is Compress.ALWAYS or (wanted is Compress.AUTO and not near and round_trip >= SLOW)
