"""What every account promises a sweep: the one in memory, and IMAP on a real server in its variants."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from bouncefiler.edge import imap
from bouncefiler.edge.memory import Folder, MemoryAccount, Stored
from bouncefiler.errors import CannotMove, FolderMissing, FolderRenumbered
from bouncefiler.filing.plan import Arrival, Judged, MessageRef, Method, Move, MoveBatch
from bouncefiler.recognition.identity import fingerprint_of, header_block
from bouncefiler.recognition.verdict import Kind, Verdict
from bouncefiler.settings import Compress
from bouncefiler.sweep import Account, FolderState, Span, one_by_one
from tests import servers
from tests.dovecot import PASSWORD, Dovecot, Held, Mail, Snapshot, Variant

EVERY = one_by_one(lambda _fields: True)
WHEN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class World(Protocol):
    """An account, and the power to look at it and to change it from outside."""

    def fill(self, folder: str, mails: Iterable[Mail]) -> None: ...
    def account(self) -> Account: ...
    def set_window(self, account: Account, messages: int) -> None: ...
    def flag(self, folder: str, uid: int, flag: str) -> None: ...
    def renumber(self, folder: str) -> None: ...
    def snapshot(self) -> Snapshot: ...


@dataclass
class MemoryWorld:
    native: bool = True

    def __post_init__(self) -> None:
        self._account = MemoryAccount({"INBOX": Folder(uidvalidity=1_000)}, native=self.native)

    def fill(self, folder: str, mails: Iterable[Mail]) -> None:
        held = self._account.folders.setdefault(folder, Folder(3_000 + len(self._account.folders)))
        for mail in mails:
            held.uidnext = mail.uid or held.uidnext
            held.add(Stored(mail.raw, mail.received_at, frozenset(mail.flags)))

    def account(self) -> Account:
        return self._account

    def set_window(self, account: Account, messages: int) -> None:
        self._account.window = messages

    def flag(self, folder: str, uid: int, flag: str) -> None:
        self._account.flag(folder, uid, flag)

    def renumber(self, folder: str) -> None:
        self._account.renumber(folder)

    def snapshot(self) -> Snapshot:
        return {
            name: tuple(
                Held(uid, m.flags, f"{m.received_at:%d-%b-%Y %H:%M:%S %z}", hashlib.sha256(m.raw).hexdigest())
                for uid, m in sorted(folder.messages.items())
            )
            for name, folder in self._account.folders.items()
        }


@dataclass
class ServerWorld:
    dovecot: Dovecot
    stack: ExitStack

    def __post_init__(self) -> None:
        self._user = self.dovecot.new_user()
        self._mailbox = self.dovecot.mailbox(self._user)
        self._names = imap.Names(self.dovecot.variant.prefix, self.dovecot.variant.separator)

    def fill(self, folder: str, mails: Iterable[Mail]) -> None:
        self._mailbox.store(mails, self._names.to_server(folder))

    def account(self) -> Account:
        server = replace(self.dovecot.server(self._user), compress=Compress.ALWAYS)  # where it is offered
        return self.stack.enter_context(imap.open_account(server, PASSWORD))

    def set_window(self, account: Account, messages: int) -> None:
        assert isinstance(account, imap.ImapAccount)
        account.window = messages

    def flag(self, folder: str, uid: int, flag: str) -> None:
        self._mailbox.flag(self._names.to_server(folder), str(uid), flag)

    def renumber(self, folder: str) -> None:
        own = self._names.to_server(folder)
        if not self._mailbox.renumberable(own):
            pytest.skip("nothing gives a folder of this server another UIDVALIDITY")
        self._mailbox.renumber(own)

    def snapshot(self) -> Snapshot:
        return {self._names.to_user(name): held for name, held in self._mailbox.snapshot().items()}


VARIANTS = {
    "dovecot": Variant(),
    "dovecot without MOVE": Variant(move=False),
    "dovecot with INBOX.": Variant(prefix="INBOX.", separator="."),
    "dovecot, compressed": Variant(
        extra=f"imap_capability = {Variant().capabilities()} COMPRESS=DEFLATE\n"
        "protocol imap {\n  mail_plugins = imap_zlib\n}\n"
    ),
}


@pytest.fixture(
    params=[
        "memory",
        "memory without MOVE",
        *(pytest.param(v, marks=pytest.mark.dovecot) for v in VARIANTS),
        *(pytest.param(name, marks=pytest.mark.servers) for name in servers.OTHERS),
    ]
)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param.startswith("memory"):
        yield MemoryWorld(native=request.param == "memory")
        return
    if request.param in servers.OTHERS:
        server = request.getfixturevalue("others")(request.param)
    else:
        server = request.getfixturevalue("dovecots")(VARIANTS[request.param])
    with ExitStack() as stack:
        yield ServerWorld(server, stack)


def mail(number: int, uid: int | None = None, *flags: str, age: int = 0, body: bytes = b"hello\r\n") -> Mail:
    """A message that differs from all others in each header field."""
    raw = (
        b"Received: from mx%d.example.org by mx.example.net\r\nFrom: Sender %d <s%d@example.org>\r\n"
        b"X-Loop: no\r\nSubject: mail\r\n number %d\r\nMessage-ID: <%d@example.org>\r\n"
        b"Content-Type: text/plain\r\n\r\n%s" % (number, number, number, number, number, body)
    )
    return Mail(raw, WHEN - timedelta(days=age), flags, uid)


def opened(account: Account, folder: str = "INBOX") -> FolderState:
    state = account.state(folder)
    assert state is not None
    return state


def batch_of(account: Account, state: FolderState, uids: Sequence[int], to: str = "Bounces") -> MoveBatch:
    account.prepare(to)
    moves = []
    for uid in uids:
        arrival = Arrival(MessageRef(state.folder, state.uidvalidity, uid), fingerprint_of(b"x"), WHEN, 1)
        moves.append(Move(Judged(arrival, Verdict(Kind.FAILED)), "failed", by_rule=False))
    return MoveBatch(state.folder, state.uidvalidity, to, tuple(moves))


def shas(held: Iterable[Held]) -> list[str]:
    return [one.sha256 for one in held]


def facts(held: Iterable[Held]) -> list[tuple[str, frozenset[str], str]]:
    """All of a message that a move must not change."""
    return [(one.sha256, one.flags, one.received_at) for one in held]


SUSPECT = b"number 7"


def wanted(fields: bytes) -> bool:
    return SUSPECT in fields


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_folder_is_described(world: World) -> None:
    """UIDNEXT and the number of messages are the folder's; asked in any case, INBOX is INBOX."""
    world.fill("INBOX", [mail(1, 5), mail(2, 9)])

    state = opened(world.account())

    assert (state.folder, state.uidnext, state.exists) == ("INBOX", 10, 2)
    assert state.uidvalidity > 0


def test_a_missing_folder_is_none(world: World) -> None:
    """It is not an error to ask."""
    assert world.account().state("Nowhere") is None


def test_each_message_is_looked_at_once_by_four_fields(world: World) -> None:
    """From, Subject, Content-Type and Message-ID, folded lines whole, nothing else of the header."""
    world.fill("INBOX", [mail(1), mail(2)])
    account = world.account()
    seen: list[bytes] = []

    def suspect(fields: bytes) -> bool:
        seen.append(fields)
        return False

    list(account.scan(opened(account), Span(), one_by_one(suspect)))

    assert len(seen) == 2
    assert [b"number %d\r\n" % n in fields for n, fields in enumerate(seen, 1)] == [True, True]
    for fields in seen:
        names = {line.partition(b":")[0].lower() for line in fields.splitlines() if line and line[:1] != b" "}
        assert names == {b"from", b"subject", b"content-type", b"message-id"}


@pytest.mark.parametrize("window", [1, 2, 3, 100])
@pytest.mark.parametrize("uids", [[1, 2, 3, 4, 5, 6, 7], [3, 4, 500, 501, 502, 9_000], [10, 20, 30, 40]], ids=str)
def test_windows_are_complete_and_ascend(world: World, uids: list[int], window: int) -> None:
    """However sparse the UIDs are, each message is in one window, and the last one reaches to UIDNEXT - 1."""
    world.fill("INBOX", [mail(n, uid) for n, uid in enumerate(uids)])
    account = world.account()
    world.set_window(account, window)
    state = opened(account)

    windows = list(account.scan(state, Span(), EVERY))

    assert [uid for w in windows for uid in w.suspects] == uids
    assert sum(w.scanned for w in windows) == len(uids)
    assert [w.last_uid for w in windows] == sorted({w.last_uid for w in windows})
    assert windows[-1].last_uid == state.uidnext - 1
    assert all(uid <= w.last_uid for w in windows for uid in w.suspects)


def test_a_scan_starts_where_it_is_told(world: World) -> None:
    """Messages before the span are not looked at, not even the last one of a folder with nothing new."""
    world.fill("INBOX", [mail(n, n) for n in (1, 2, 7, 8)])
    account = world.account()
    state = opened(account)

    found = [w.suspects for w in account.scan(state, Span(first_uid=7), EVERY)]
    nothing = [w.suspects for w in account.scan(state, Span(first_uid=9), EVERY)]

    assert [uid for suspects in found for uid in suspects] == [7, 8]
    assert nothing == []


def test_a_scan_by_date_goes_by_arrival(world: World) -> None:
    """INTERNALDATE at or after the date, to the second."""
    world.fill("INBOX", [mail(1, age=3), mail(2, age=2), mail(3, age=1)])
    account = world.account()

    windows = list(account.scan(opened(account), Span(since=WHEN - timedelta(days=2)), EVERY))

    assert [w.suspects for w in windows] == [(2, 3)]
    assert windows[-1].scanned == 2


def test_messages_are_read_with_their_facts(world: World) -> None:
    """The first octets, the whole size, the time of arrival, and whether somebody marked it as deleted."""
    mails = [mail(1), mail(2, None, "\\Deleted", "\\Seen", age=5)]
    world.fill("INBOX", mails)
    account = world.account()

    readings = {reading.uid: reading for reading in account.read(opened(account), [2, 1], 20)}

    assert sorted(readings) == [1, 2]
    assert [readings[uid].raw for uid in (1, 2)] == [one.raw[:20] for one in mails]
    assert [readings[uid].size for uid in (1, 2)] == [len(one.raw) for one in mails]
    assert [readings[uid].received_at for uid in (1, 2)] == [WHEN, WHEN - timedelta(days=5)]
    assert [readings[uid].deleted for uid in (1, 2)] == [False, True]


def test_a_short_message_is_read_whole(world: World) -> None:
    """Asked for more octets than there are, all of them come."""
    world.fill("INBOX", [mail(1)])
    account = world.account()

    (reading,) = account.read(opened(account), [1], 1_000_000)

    assert reading.raw == mail(1).raw


def test_missing_messages_are_not_an_error(world: World) -> None:
    """They are just not among the answers."""
    world.fill("INBOX", [mail(1, 3), mail(2, 5)])
    account = world.account()
    state = opened(account)

    assert [reading.uid for reading in account.read(state, [1, 3, 4, 99], 10)] == [3]
    assert list(account.read(state, [77], 10)) == []
    assert list(account.read(state, [], 10)) == []


def test_many_messages_are_read(world: World) -> None:
    """More than one command's worth, each once."""
    world.fill("INBOX", [mail(n) for n in range(1, 451)])
    account = world.account()

    assert [r.uid for r in account.read(opened(account), range(1, 451), 10)] == list(range(1, 451))


def test_header_blocks_are_read_whole(world: World) -> None:
    """With the blank line that ends them, so that the fingerprint is that of the whole message."""
    mails = [mail(n, n, body=b"line\r\n\r\nline\r\n") for n in (1, 5, 6)]
    world.fill("INBOX", mails)
    account = world.account()

    readings = list(account.headers(opened(account), 5))

    assert [reading.uid for reading in readings] == [5, 6]
    assert [header_block(r.raw) for r in readings] == [header_block(m.raw) for m in mails[1:]]
    assert [reading.size for reading in readings] == [len(m.raw) for m in mails[1:]]
    assert list(account.headers(opened(account), 7)) == []


def test_reading_leaves_no_trace(world: World) -> None:
    """Nothing is marked as seen, nothing changes."""
    world.fill("INBOX", [mail(1), mail(2, None, "\\Flagged")])
    before = world.snapshot()
    account = world.account()
    state = opened(account)

    list(account.scan(state, Span(), one_by_one(wanted)))
    list(account.scan(state, Span(since=WHEN), one_by_one(wanted)))
    list(account.read(state, [1, 2], 8_192))
    list(account.headers(state, 1))

    assert world.snapshot() == before


# ── moving ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_target_is_made(world: World) -> None:
    """Once, empty; asked again it is the same."""
    world.fill("INBOX", [mail(1)])
    account = world.account()

    made = account.prepare("Bounces/Full")

    assert (made.folder, made.exists) == ("Bounces/Full", 0)
    assert account.prepare("Bounces/Full").uidvalidity == made.uidvalidity
    assert opened(account, "Bounces/Full").uidvalidity == made.uidvalidity


def test_an_existing_target_is_described(world: World) -> None:
    """No copy of ours can have a lower UID than its UIDNEXT."""
    world.fill("INBOX", [mail(1)])
    world.fill("Bounces", [mail(2, 40), mail(3, 41)])

    target = world.account().prepare("Bounces")

    assert (target.uidnext, target.exists) == (42, 2)


def test_where_mail_is_copied_the_target_is_described_as_it_is_now(world: World) -> None:
    """An interrupted COPY is settled by what the target has got since: an older twin must not count as the copy."""
    world.fill("INBOX", [mail(1), mail(2)])
    account = world.account()
    account.prepare("Bounces")

    account.move(batch_of(account, opened(account), [1]))

    if account.method is Method.COPY:
        assert account.prepare("Bounces").uidnext > world.snapshot()["Bounces"][-1].uid


def test_mail_is_never_filed_in_the_inbox(world: World) -> None:
    """However it is spelled."""
    account = world.account()

    with pytest.raises(CannotMove, match="INBOX"):
        account.prepare("INBOX")


def test_a_move_takes_what_it_is_told_and_nothing_else(world: World) -> None:
    """Flags, unread state and time of arrival stay; UIDs that are not there do no harm."""
    mails = [mail(1), mail(2, None, "\\Seen", "\\Flagged", age=9), mail(3), mail(4, None, "\\Answered", age=400)]
    world.fill("INBOX", mails)
    before = world.snapshot()["INBOX"]
    account = world.account()
    state = opened(account)

    account.move(batch_of(account, state, [1, 2, 4, 77]))

    after = world.snapshot()
    assert facts(after["INBOX"]) == facts([before[2]])
    assert [held.uid for held in after["INBOX"]] == [3]
    assert sorted(facts(after["Bounces"])) == sorted(facts([before[0], before[1], before[3]]))


def test_a_message_is_moved_back_without_preparing_its_folder(world: World) -> None:
    """INBOX is no target of filing, but it is where filed mail goes back to; flags and time of arrival stay."""
    world.fill("INBOX", [mail(1), mail(2, None, "\\Flagged", age=9), mail(3)])
    before = world.snapshot()["INBOX"]
    account = world.account()
    there = account.move(batch_of(account, opened(account), [1, 2]))
    assert there.uids is not None
    home, filed = opened(account), opened(account, "Bounces")

    back = account.move(replace(batch_of(account, filed, [there.uids[2]]), to="INBOX"))

    assert back.uids == {there.uids[2]: home.uidnext}
    after = world.snapshot()
    assert facts(after["INBOX"]) == facts([before[2], before[1]])
    assert facts(after["Bounces"]) == facts([before[0]])


def test_a_folder_that_is_gone_is_not_made_for_what_comes_back(world: World) -> None:
    """Only the target of filing is made when it is missing."""
    world.fill("INBOX", [mail(1)])
    account = world.account()
    state = opened(account)
    batch = replace(batch_of(account, state, [1]), to="Gone")

    with pytest.raises(FolderMissing):
        account.move(batch)

    assert "Gone" not in world.snapshot()
    assert len(world.snapshot()["INBOX"]) == 1


def test_a_move_says_where_each_message_went(world: World) -> None:
    """Source UID to target UID, in the numbering of the target."""
    world.fill("INBOX", [mail(n, n) for n in (3, 4, 8)])
    world.fill("Bounces", [mail(99, 10)])
    before = {held.uid: held.sha256 for held in world.snapshot()["INBOX"]}
    account = world.account()

    moved = account.move(batch_of(account, opened(account), [3, 5, 8]))

    after = {held.uid: held.sha256 for held in world.snapshot()["Bounces"]}
    assert moved.uids is not None
    assert moved.to_uidvalidity == opened(account, "Bounces").uidvalidity
    assert sorted(moved.uids) == [3, 8]
    assert {source: after[target] for source, target in moved.uids.items()} == {3: before[3], 8: before[8]}


def test_mail_is_read_while_a_move_is_under_way(world: World) -> None:
    """Whose answer is whose stays clear; the move has its answer when it is asked for."""
    world.fill("INBOX", [mail(n) for n in range(1, 7)])
    account = world.account()
    state = opened(account)
    batch = batch_of(account, state, [1, 2])
    ahead = account.read(state, [3, 4], 1_000)

    answer = account.begin_move(batch)
    behind = account.read(state, [5, 6], 1_000)

    assert [reading.uid for reading in behind] == [5, 6]
    assert [reading.uid for reading in ahead] == [3, 4]
    assert sorted(answer().uids or ()) == [1, 2]
    assert [held.uid for held in world.snapshot()["INBOX"]] == [3, 4, 5, 6]


def test_a_question_waits_for_the_move_that_was_begun_before(world: World) -> None:
    """Another folder can be prepared, and another move made; the first one still has its own answer."""
    world.fill("INBOX", [mail(n) for n in range(1, 5)])
    account = world.account()
    state = opened(account)
    first, second = batch_of(account, state, [1]), batch_of(account, state, [2], "Others")

    answer = account.begin_move(first)
    account.prepare("More")
    others = account.move(second)

    assert list(others.uids or ()) == [2]
    assert list(answer().uids or ()) == [1]


def test_the_parts_of_a_multipart_are_told(world: World) -> None:
    """In their order, in lower case; of other messages, and of those that are gone, nothing."""
    kind = b"Multipart/Mixed; boundary=x\r\nMIME-Version: 1.0"  # Courier takes it for plain text without the version
    many = mail(2).raw.replace(b"text/plain", kind).partition(b"\r\n\r\n")[0]
    parts = b"--x\r\nContent-Type: Text/Plain\r\n\r\na\r\n"
    parts += b"--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: b\r\n\r\nc\r\n"
    world.fill("INBOX", [mail(1), Mail(many + b"\r\n\r\n" + parts + b"--x--\r\n", WHEN)])
    account = world.account()

    told = dict(account.parts(opened(account), [1, 2, 9]))

    assert told.pop(1, ()) == ()
    assert told == {2: ("text/plain", "message/rfc822")}


def test_moving_what_is_gone_does_nothing(world: World) -> None:
    """Neither an error nor a change."""
    world.fill("INBOX", [mail(1)])
    account = world.account()
    batch = batch_of(account, opened(account), [50, 51])
    before = world.snapshot()

    moved = account.move(batch)

    assert not moved.uids
    assert world.snapshot() == before


def test_what_others_marked_as_deleted_stays(world: World) -> None:
    """A move or a removal expunges by UID, never all that is marked."""
    world.fill("INBOX", [mail(1), mail(2, None, "\\Deleted"), mail(3), mail(4)])
    account = world.account()
    state = opened(account)
    world.flag("INBOX", 3, "\\Deleted")

    account.move(batch_of(account, state, [1]))
    account.remove([MessageRef("INBOX", state.uidvalidity, 4)])

    assert [held.uid for held in world.snapshot()["INBOX"]] == [2, 3]


def test_originals_are_removed_exactly(world: World) -> None:
    """Those that are named; what is gone already does no harm."""
    world.fill("INBOX", [mail(n) for n in range(1, 6)])
    account = world.account()
    state = opened(account)

    account.remove([MessageRef("INBOX", state.uidvalidity, uid) for uid in (2, 4, 99)])

    assert [held.uid for held in world.snapshot()["INBOX"]] == [1, 3, 5]


def test_the_method_is_named(world: World) -> None:
    """The journal has to know whether a copy may exist beside its original."""
    assert world.account().method in {Method.MOVE, Method.COPY}


def test_folder_names_are_in_any_language(world: World) -> None:
    """Made, described and filled under the name that the user wrote."""
    name = "Devoluções/Caixa & espaço “cheio”"
    world.fill("INBOX", [mail(1)])
    account = world.account()

    account.move(batch_of(account, opened(account), [1], name))

    there = world.snapshot()
    assert [len(held) for folder, held in there.items() if held and ("cheio" in folder or "&" in folder)] == [1]
    assert opened(account, name).exists == 1


# ── one thing between others ─────────────────────────────────────────────────────────────────────────────────────────


def test_other_calls_may_be_made_between_windows(world: World) -> None:
    """Reading, preparing and moving while the next window is on its way; every message is still looked at once."""
    uids = [1, 2, 3, 50, 51, 52, 53, 90, 91, 92]
    world.fill("INBOX", [mail(n, uid) for n, uid in enumerate(uids)])
    account = world.account()
    world.set_window(account, 3)
    state = opened(account)
    seen: list[int] = []

    for window in account.scan(state, Span(), EVERY):
        seen.extend(window.suspects)
        assert [reading.uid for reading in account.read(state, window.suspects, 100)] == list(window.suspects)
        if window.suspects:
            account.move(batch_of(account, state, window.suspects[:1]))
        opened(account, "Bounces")

    assert seen == uids
    after = world.snapshot()
    assert len(after["INBOX"]) + len(after["Bounces"]) == len(uids)


def test_a_scan_or_a_reading_may_be_abandoned(world: World) -> None:
    """What was on its way disturbs nobody."""
    world.fill("INBOX", [mail(n) for n in range(1, 11)])
    account = world.account()
    world.set_window(account, 2)
    state = opened(account)

    next(iter(account.scan(state, Span(), one_by_one(wanted))))
    next(iter(account.read(state, range(1, 11), 100)))
    next(iter(account.headers(state, 1)))

    assert [reading.uid for reading in account.read(state, [4, 5], 100)] == [4, 5]
    account.move(batch_of(account, state, [4, 5]))
    assert len(world.snapshot()["Bounces"]) == 2


def test_a_reading_goes_on_after_something_else(world: World) -> None:
    """Half a reading, a move, the other half: nothing is lost or repeated."""
    world.fill("INBOX", [mail(n) for n in range(1, 11)])
    account = world.account()
    state = opened(account)
    readings = iter(account.read(state, range(1, 11), 100))

    uids = [next(readings).uid, next(readings).uid]
    opened(account)
    uids += [reading.uid for reading in readings]

    assert uids == list(range(1, 11))


# ── renumbering ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("what", ["scan", "read", "headers", "move", "remove"])
def test_old_numbers_are_never_acted_upon(world: World, what: str) -> None:
    """After a change of UIDVALIDITY the old UIDs mean other messages, or none."""
    world.fill("INBOX", [mail(1), mail(2)])
    state = opened(world.account())
    world.renumber("INBOX")
    account = world.account()
    batch = batch_of(account, state, [1])
    before = world.snapshot()
    acts: dict[str, Callable[[], object]] = {
        "scan": lambda: list(account.scan(state, Span(), one_by_one(wanted))),
        "read": lambda: list(account.read(state, [1], 10)),
        "headers": lambda: list(account.headers(state, 1)),
        "move": lambda: account.move(batch),
        "remove": lambda: account.remove([MessageRef("INBOX", state.uidvalidity, 1)]),
    }

    with pytest.raises(FolderRenumbered, match="INBOX"):
        acts[what]()

    assert opened(account).uidvalidity != state.uidvalidity
    assert world.snapshot() == before


def test_a_folder_that_is_gone_counts_as_renumbered(world: World) -> None:
    """A plan made for it is of no use any more."""
    state = replace(opened(world.account()), folder="Gone")

    with pytest.raises(FolderRenumbered, match="Gone"):
        list(world.account().read(state, [1], 10))
