"""Big providers, played: a small mailbox that answers as an honest server does, but for each one's known habits.

What a habit is and where it was seen stands beside it. The mailbox is real enough for a whole clean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.scripted import Answer, Part

_DATE = "01-Mar-2026 12:00:00 +0000"
_SET = re.compile(r"UID \w+ ([\d:,*]+)").match


@dataclass(slots=True)
class Held:
    """A message in the mailbox."""

    raw: bytes
    flags: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Box:
    """The mailbox: folders of messages by UID, and which of them is open."""

    folders: dict[str, dict[int, Held]]
    nexts: dict[str, int] = field(default_factory=dict)
    opened: str = "INBOX"

    @classmethod
    def of(cls, *raws: bytes) -> Box:
        """Make one whose INBOX holds these messages, numbered from 1."""
        return cls({"INBOX": {uid: Held(raw) for uid, raw in enumerate(raws, 1)}})

    def answers(self) -> dict[str, Answer]:
        """Say what an honest server would."""
        return {
            "(SELECT|EXAMINE)": self.open,
            "STATUS": self._status,
            'LIST "" ""': '* LIST (\\Noselect) "/" ""\r\nTAG OK done',
            "LIST": self._list,
            "CREATE": lambda command: self._create(_name(command)),
            "UID FETCH": self.fetch,
            "FETCH": lambda command: self.fetch(f"UID {command}"),
            "UID (MOVE|COPY)": self.transfer,
            "UID STORE": self._store,
            "UID EXPUNGE": self._expunge,
        }

    def uidnext(self, folder: str) -> int:
        return self.nexts.get(folder, max(self.folders[folder], default=0) + 1)

    def open(self, command: str) -> str:
        """Open a folder, and describe it."""
        self.opened = _name(command)
        held = self.folders[self.opened]
        return (
            f"* {len(held)} EXISTS\r\n* OK [UIDVALIDITY 7]\r\n* OK [UIDNEXT {self.uidnext(self.opened)}]\r\n"
            "* OK [PERMANENTFLAGS (\\Seen \\Deleted \\*)]\r\nTAG OK [READ-WRITE] selected"
        )

    def _status(self, command: str) -> str:
        name = _name(command)
        if name not in self.folders:
            return "TAG NO [NONEXISTENT] no such folder"
        facts = f"MESSAGES {len(self.folders[name])} UIDVALIDITY 7{len(name)} UIDNEXT {self.uidnext(name)}"
        return f'* STATUS "{name}" ({facts})\r\nTAG OK done'

    def _list(self, command: str) -> str:
        wanted = re.findall(r'"([^"]*)"', command)[1]
        names = [name for name in self.folders if wanted in {"*", name}]
        return "".join(f'* LIST () "/" "{name}"\r\n' for name in names) + "TAG OK done"

    def _create(self, name: str) -> str:
        self.folders[name] = {}
        return "TAG OK done"

    def uids(self, command: str) -> list[int]:
        """Return which messages of the open folder are meant."""
        found = _SET(command)
        assert found, command
        held = sorted(self.folders[self.opened])
        wanted: set[int] = set()
        for part in found[1].replace("*", str(held[-1])).split(","):
            first, _, last = part.partition(":")
            wanted |= set(range(int(first), int(last or first) + 1))
        return [uid for uid in held if uid in wanted]

    def fetch(self, command: str) -> bytes:
        """Answer a FETCH with what is asked for, as far as bouncefiler asks."""
        said = b""
        for uid in self.uids(command):
            held = self.folders[self.opened][uid]
            items = f'UID {uid} FLAGS ({" ".join(held.flags)}) INTERNALDATE "{_DATE}" RFC822.SIZE {len(held.raw)}'
            said += f"* {uid} FETCH ({items}".encode() + _body(command, held.raw) + b")\r\n"
        return said + b"TAG OK done"

    def transfer(self, command: str) -> str:
        """Move or copy, and tell where to (COPYUID)."""
        target, uids = _name(command), self.uids(command)
        first = self.uidnext(target)
        for number, uid in enumerate(uids):
            held = self.folders[self.opened][uid]
            self.folders[target][first + number] = Held(held.raw, set(held.flags))
            if "MOVE" in command:
                self.nexts.setdefault(self.opened, self.uidnext(self.opened))
                del self.folders[self.opened][uid]
        if not uids:
            return "TAG OK nothing to do"
        copies = ",".join(str(first + number) for number in range(len(uids)))
        return f"TAG OK [COPYUID 7{len(target)} {','.join(map(str, uids))} {copies}] done"

    def _store(self, command: str) -> str:
        for uid in self.uids(command):
            self.folders[self.opened][uid].flags.add("\\Deleted")
        return "TAG OK done"

    def _expunge(self, command: str) -> str:
        self.nexts.setdefault(self.opened, self.uidnext(self.opened))
        for uid in self.uids(command):
            if "\\Deleted" in self.folders[self.opened][uid].flags:
                del self.folders[self.opened][uid]
        return "TAG OK done"


def _name(command: str) -> str:
    return str(re.findall(r'"([^"]*)"', command)[-1])


def _body(command: str, raw: bytes) -> bytes:
    head, _, _ = raw.partition(b"\r\n\r\n")
    if "HEADER.FIELDS" in command:
        lines = [
            line for line in head.split(b"\r\n") if re.match(rb"(?i)(from|subject|content-type|message-id):", line)
        ]
        block, name = b"\r\n".join(lines) + b"\r\n\r\n", "BODY[HEADER.FIELDS (FROM SUBJECT CONTENT-TYPE MESSAGE-ID)]"
    elif "BODY.PEEK[HEADER]" in command:
        block, name = head + b"\r\n\r\n", "BODY[HEADER]<0>"
    elif "BODY.PEEK[]" in command:
        block, name = raw, "BODY[]<0>"
    else:
        return b""  # iCloud: nothing at all for RFC822
    return f" {name} {{{len(block)}}}\r\n".encode() + block


@dataclass(frozen=True, slots=True)
class Provider:
    """What a provider's server can do, and its habits: answers that come before the honest ones."""

    capabilities: str
    habits: Callable[[Box], Mapping[str, Answer]] = lambda _box: {}

    def part(self, box: Box) -> Part:
        """Return the part to play with this mailbox."""
        habits, honest = self.habits(box), box.answers()
        rest = {pattern: answer for pattern, answer in honest.items() if pattern not in habits}
        return Part({**habits, **rest}, capabilities=self.capabilities)


def _gmail(box: Box) -> Mapping[str, Answer]:
    """Slowed down, it says so in the tagged OK, and does what it was asked (imapsync's FAQ)."""
    return {"UID MOVE": lambda command: box.transfer(command) + " [THROTTLED] (Success)"}


def _microsoft(box: Box) -> Mapping[str, Answer]:
    """Asked for much, it refuses with the time to wait, then hangs up (imapsync #212)."""
    left = [1]

    def fetch(command: str) -> str | bytes:
        if left[0] and "<0." in command:
            left[0] -= 1
            wait = "Request is throttled. Suggested Backoff Time: 92415 milliseconds"
            return f"TAG NO {wait}\r\n* BYE Connection closed. 14"
        return box.fetch(command)

    return {"UID FETCH": fetch}


def _yahoo(box: Box) -> Mapping[str, Answer]:
    """It cannot SEARCH by header, and some messages it will never give (mailcore2 #1445, Thunderbird's bug 1560042)."""

    def fetch(command: str) -> str | bytes:
        if 2 in box.uids(command) and "BODY" in command:
            return "TAG NO [UNAVAILABLE] UID FETCH Server error - Please try again later"
        return box.fetch(command)

    return {"(UID )?SEARCH": "TAG NO [SERVERBUG] SEARCH Server error - Please try again later", "UID FETCH": fetch}


def _netease(box: Box) -> Mapping[str, Answer]:
    """163.com lets nobody open a folder who has not said who they are (RFC 2971)."""
    known: list[str] = []

    def introduce(command: str) -> str:
        known.append(command)
        return "* ID NIL\r\nTAG OK done"

    def refuse(command: str) -> str:
        return box.open(command) if known else "TAG NO SELECT Unsafe Login. Please contact kefu@188.com"

    return {"ID": introduce, "(SELECT|EXAMINE)": refuse}


PROVIDERS = {
    "Gmail": Provider("IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID X-GM-EXT-1 UIDPLUS MOVE ESEARCH SPECIAL-USE", _gmail),
    "Microsoft 365": Provider("IMAP4 IMAP4rev1 AUTH=XOAUTH2 UIDPLUS MOVE ID UNSELECT IDLE LITERAL+", _microsoft),
    "iCloud": Provider("IMAP4rev1 UIDPLUS XAPPLEPUSHSERVICE IDLE"),
    "Yahoo": Provider("IMAP4rev1 SASL-IR MOVE UIDPLUS OBJECTID", _yahoo),
    "163": Provider("IMAP4rev1 XLIST SPECIAL-USE ID LITERAL+ UIDPLUS", _netease),
    "Zimbra": Provider("IMAP4rev1 ID IDLE UIDPLUS UNSELECT ESEARCH LIST-EXTENDED"),
    "hMailServer": Provider("IMAP4 IMAP4rev1 CHILDREN IDLE QUOTA SORT"),
}
