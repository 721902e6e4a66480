"""An account whose mail is filed."""

from __future__ import annotations

import imaplib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from imapclient import imap_utf7

from bouncefiler.edge.imap.commands import Ask, Command, Reply
from bouncefiler.edge.imap.login import Client, Dial, dial_server, log_in
from bouncefiler.edge.imap.names import HOLDS_NOTHING, encoded
from bouncefiler.edge.imap.reader import Selected
from bouncefiler.edge.imap.replies import copyuid, flags_of, number_in
from bouncefiler.edge.imap.sent import ImapSentReader
from bouncefiler.edge.imap.special import special_folders
from bouncefiler.edge.imap.trouble import in_our_words, plain, refusal, said_in
from bouncefiler.errors import CannotMove, FolderMissing, OverQuota, Unreachable
from bouncefiler.filing.plan import MessageRef, Method, MoveBatch, uid_set
from bouncefiler.settings import Server
from bouncefiler.sweep import FolderState, Moved, Reading

REMOVE_AT_ONCE = 500
"""Messages in one command that removes copied originals."""


def open_account(server: Server, password: str, dial: Dial | None = None, *, first: str = "") -> ImapAccount:
    """Log in to an account in order to file its mail; `first` is the folder that will be opened first, if known.

    Raises as `open_reader`.
    """
    return ImapAccount(server, log_in(server, password, dial or dial_server), first)


class ImapAccount(ImapSentReader):
    """An account whose mail is filed: see sweep.Mover. It never expunges but by UID, and never moves by APPEND."""

    _VERB = b"SELECT"

    def __init__(self, server: Server, client: Client, first: str = "") -> None:
        super().__init__(server, client, first)
        self._targets: dict[str, FolderState] = {}
        self._expected = ""
        self._asked_ahead: tuple[str, Sequence[Ask]] | None = None

    @property
    def method(self) -> Method:
        """See sweep.Mover."""
        if "MOVE" in self._capabilities:  # RFC 6851
            return Method.MOVE
        if "UIDPLUS" in self._capabilities:  # RFC 4315
            return Method.COPY
        raise CannotMove(
            f"{self._server.host} has neither MOVE nor UIDPLUS: taking a message out of a folder would need a plain "
            "EXPUNGE, which also removes what you or another program has marked as deleted. bouncefiler files nothing "
            "here; `bouncefiler preview` shows what you could move by hand"
        )

    def expect(self, folder: str) -> None:
        """See sweep.Mover. It is asked about along with the first messages that are read, which costs no turn."""
        self._expected = folder

    def state(self, folder: str) -> FolderState | None:
        """See sweep.Reader. A sweep begins so, and what was asked in one before is of no use."""
        self._asked_ahead = None
        return super().state(folder)

    def read(self, state: FolderState, uids: Sequence[int], octets: int) -> Iterator[Reading]:
        """See sweep.Reader."""
        if uids and self._expected:
            self._ask_ahead(self._expected)
            self._expected = ""
        return super().read(state, uids, octets)

    def _ask_ahead(self, folder: str) -> None:
        if folder not in self._targets and "MOVE" in self._capabilities:  # else it is to be as it is now: see prepare
            with in_our_words(self._server):
                self._asked_ahead = folder, self._pipe.begin(*self._questions(self._names.to_server(folder)))

    def prepare(self, folder: str) -> FolderState:
        """See sweep.Mover. Asked again, it answers from memory: its UIDNEXT is one that was, not always one that is.

        Not where mail is moved by COPY: there an interrupted move is settled by what the target holds from UIDNEXT on,
        and an older twin must not be taken for the copy.
        """
        if folder not in self._targets or self.method is Method.COPY:
            self._targets[folder] = self._prepared(folder)
        return self._targets[folder]

    def move(self, batch: MoveBatch) -> Moved:
        """See sweep.Mover."""
        return self.begin_move(batch)()

    def begin_move(self, batch: MoveBatch) -> Callable[[], Moved]:
        """See sweep.Mover. Mail can be read meanwhile; any other question waits for the answer to this one."""
        self._check_source(batch)
        command = b"UID %s %s %s" % (
            self.method.value.upper().encode(),
            uid_set(batch.uids).encode(),
            encoded(self._names.to_server(batch.to)),
        )
        with in_our_words(self._server):
            sent = self._pipe.begin(command)
            self._pipe.drain(but=sent)  # a server does one thing after the other: what is still to be read holds it up
        return partial(self._moved, batch, command, sent)

    def _moved(self, batch: MoveBatch, command: bytes, sent: Sequence[Ask]) -> Moved:
        with in_our_words(self._server):
            reply = self._pipe.end(sent)[0]
        if reply.code == "TRYCREATE" and batch.to in self._targets:  # a folder that nobody has prepared is not made
            self._targets.pop(batch.to, None)
            self.prepare(batch.to)
            self._check_source(batch)  # by now another folder may be selected
            reply = self._ask(command)[0]
        if not reply.complete:  # a message that somebody else has removed meanwhile is not an error
            self._targets.pop(batch.to, None)
            raise self._refusal(f"move mail from {batch.source!r} to {batch.to!r}", reply)
        moved = copyuid(reply, batch.uids)
        known = self._targets.get(batch.to)
        if known and moved.uids and moved.to_uidvalidity != known.uidvalidity:
            del self._targets[batch.to]  # somebody has made it anew since we looked
        if self.method is Method.COPY and moved.uids:
            self._check_source(batch)
            self._expunge(sorted(moved.uids))
        return moved

    def remove(self, refs: Sequence[MessageRef]) -> None:
        """See sweep.Mover."""
        for folder, uidvalidity in sorted({(ref.folder, ref.uidvalidity) for ref in refs}):
            self._check_writable(self._opened(folder, uidvalidity))
            uids = sorted({ref.uid for ref in refs if (ref.folder, ref.uidvalidity) == (folder, uidvalidity)})
            for start in range(0, len(uids), REMOVE_AT_ONCE):
                self._expunge(uids[start : start + REMOVE_AT_ONCE])

    def drafts_folders(self) -> tuple[str, ...]:
        """Return where drafts are kept, by the flag or the usual names; other people's folders are left out."""
        return special_folders(self._own_folders(), "\\Drafts")

    def append(self, folder: str, message: bytes, flags: Sequence[str] = (), when: datetime | None = None) -> None:
        """Put a message of our own, such as an alert, into a folder. Raises OverQuota, FolderMissing, Unreachable."""
        name = imap_utf7.encode(self._names.to_server(folder))
        with in_our_words(self._server):
            self._pipe.drain()
            self._client.transport.untagged_responses.clear()
            try:
                self._client.append(name, message, flags, when)
            except imaplib.IMAP4.error as exc:
                self._pipe.broken = isinstance(exc, imaplib.IMAP4.abort)
                raise refusal(self._server, f"put a message into {folder!r}", said_in(exc)) from exc
            except BaseException:
                self._pipe.broken = True
                raise

    def _check_source(self, batch: MoveBatch) -> None:
        if self._names.to_server(batch.source) == self._names.to_server(batch.to):
            raise CannotMove(f"{batch.to!r} is the folder that is watched: set another `bounce_folder`")
        self._check_writable(self._opened(batch.source, batch.uidvalidity))

    def _check_writable(self, source: Selected) -> None:
        if not source.writable or not source.deletable:
            raise CannotMove(
                f"{self._server.host} lets {source.state.folder!r} only be read by {plain(self._server.user)}: ask the "
                "owner of the folder for the right to delete in it, or take it out of `folders`"
            )
        if not source.sticky:
            raise CannotMove(
                f"{self._server.host} does not keep the UIDs of {source.state.folder!r} (UIDNOTSTICKY): no move from "
                "there could be settled after an interruption; take it out of `folders`"
            )

    def _prepared(self, folder: str) -> FolderState:
        name = self._names.to_server(folder)
        if name == "INBOX":
            raise CannotMove("mail is never filed in INBOX: set another `bounce_folder`")
        questions = self._questions(name)
        ahead, self._asked_ahead = self._asked_ahead, None
        with in_our_words(self._server):
            asked = ahead[1] if ahead and ahead[0] == folder else self._pipe.begin(*questions)
            listed, answer, *all_listed = self._pipe.end(asked)
        self._listing = next((reply for reply in all_listed if reply.status == "OK"), None)
        flags = flags_of(name, listed)
        self._check_purpose(folder, flags or frozenset())
        if answer.status != "OK":
            error = self._refusal(f"describe the folder {folder!r}", answer)
            if isinstance(error, Unreachable) or (flags is not None and not flags & HOLDS_NOTHING):
                raise error
            answer = self._created(folder, name, flags, questions[1])
        uidvalidity = number_in(answer, b"UIDVALIDITY")
        if answer.status != "OK" or not uidvalidity:
            raise self._refusal(f"describe the folder {folder!r}", answer)
        state = FolderState(
            folder, uidvalidity, number_in(answer, b"UIDNEXT") or 1, number_in(answer, b"MESSAGES") or 0
        )
        self._check_alias(state)
        return state

    def _questions(self, name: str) -> tuple[bytes, ...]:
        """Return what is to be asked about a target: is it there and what is it for, how is it numbered."""
        status = b"STATUS %s (UIDVALIDITY UIDNEXT MESSAGES)" % encoded(name)
        # Who files something wants to know next where sent mail is: this saves a turn.
        return (self._list(name), status, *(() if self._targets else (self._list("*"),)))

    def _check_purpose(self, folder: str, flags: frozenset[str]) -> None:
        """Servers empty these folders by themselves (RFC 6154); where they do not say which, go by the usual names."""
        last = folder.replace(".", "/").rpartition("/")[2].casefold()
        told = "SPECIAL-USE" in self._capabilities
        if flags & {"\\trash", "\\junk"} or (not told and last in _EMPTIED):
            raise CannotMove(
                f"{folder!r} is a folder for rubbish, which the provider empties by itself: set another `bounce_folder`"
            )

    def _created(self, folder: str, name: str, flags: frozenset[str] | None, status: bytes) -> Reply:
        """Make and subscribe a folder; return the answer to `status`. Nothing hangs on that to SUBSCRIBE."""
        reply, answer = self._ask(b"CREATE " + encoded(name), status)
        if reply.status == "OK" or reply.code == "ALREADYEXISTS":
            self._pipe.post(Command[bytes](b"SUBSCRIBE " + encoded(name)))
            return answer
        if flags is not None:
            raise CannotMove(f"{folder!r} can hold no mail, only other folders: set another `bounce_folder`")
        error = self._refusal(f"make the folder {folder!r}", reply)
        if isinstance(error, Unreachable | OverQuota) and reply.code != "LIMIT":  # LIMIT: GMX allows twenty folders
            raise error
        raise FolderMissing(
            f"there is no folder {folder!r}, and {self._server.host} refuses to make it: “{plain(reply.text)}”; make "
            "it with your mail program, or set another `bounce_folder`"
        )

    def _check_alias(self, target: FolderState) -> None:
        """Refuse one folder under two names: mail would be moved from it to itself, again and again."""
        source = self._selected.state if self._selected else None
        if not source or not source.exists or source.folder == target.folder:
            return
        if replace(source, folder=target.folder) == target:
            raise CannotMove(
                f"{target.folder!r} seems to be {source.folder!r} by another name: set another `bounce_folder`"
            )

    def _expunge(self, uids: Sequence[int]) -> None:
        """Remove these messages and no others (RFC 4315, 2.1)."""
        if "UIDPLUS" not in self._capabilities:
            raise CannotMove(f"{self._server.host} has no UIDPLUS: copied originals cannot be removed one by one")
        which = uid_set(uids).encode()
        replies = self._ask(b"UID STORE %s +FLAGS.SILENT (\\Deleted)" % which, b"UID EXPUNGE " + which)
        for reply in replies:
            if not reply.complete:
                raise self._refusal("remove the originals of copied messages", reply)


_EMPTIED = frozenset(
    {
        *(
            "trash",
            "deleted",
            "deleted items",
            "deleted messages",
            "junk",
            "junk email",
            "junk e-mail",
            "spam",
            "bulk mail",
        ),
        *("lixeira", "itens excluídos", "lixo eletrônico", "papelera", "elementos eliminados", "correo no deseado"),
        *("papierkorb", "gelöschte elemente", "spamverdacht", "corbeille", "courrier indésirable", "cestino"),
    }
)
