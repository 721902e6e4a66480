"""Folders for one use, such as sent mail: by the flag that the server gives them, else by their usual names."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from importlib import resources

from bouncefiler.edge.imap.names import HOLDS_NOTHING, FolderInfo

_ABOVE = re.compile(r"(?:INBOX|\[Gmail\]|\[Google Mail\])[/.]", re.IGNORECASE)
"""What such folders are kept under where they are not at the top."""

_OTHER_USES = frozenset({"\\all", "\\archive", "\\drafts", "\\flagged", "\\important", "\\junk", "\\trash"})
"""RFC 6154, 2; RFC 8457."""


def special_folders(folders: Iterable[FolderInfo], use: str) -> tuple[str, ...]:
    r"""Return the names of the folders with this use (RFC 6154, 2), such as "\Sent"; several are rare, none happens.

    Where no folder has the flag, those that are called as mail programs call them, in any language. A folder deep
    inside others is not meant by its name: people file things there themselves.
    """
    there = [folder for folder in folders if not HOLDS_NOTHING & _lower(folder.flags)]
    flagged = tuple(folder.name for folder in there if use.lower() in _lower(folder.flags))
    return flagged or tuple(folder.name for folder in there if _plain(folder.name) in _names(use))


def all_special_folders(folders: Sequence[FolderInfo], use: str) -> tuple[str, ...]:
    """Return the folders with this use, and those of a usual name that the server does not give another one.

    Where Outlook and the web mail each keep a folder of sent mail, the server has a flag for one of them only.
    """
    unmarked = [folder for folder in folders if not (_OTHER_USES | HOLDS_NOTHING) & _lower(folder.flags)]
    flagged = special_folders(folders, use)
    named = (folder.name for folder in unmarked if _plain(folder.name) in _names(use))
    return tuple(dict.fromkeys([*flagged, *named]))


def _lower(flags: Iterable[str]) -> frozenset[str]:
    return frozenset(flag.lower() for flag in flags)


def _plain(name: str) -> str:
    # Some clients, those of macOS among them, take letters and accents apart.
    return unicodedata.normalize("NFC", _ABOVE.sub("", name, count=1)).casefold()


@cache
def _names(use: str) -> Collection[str]:
    table = tomllib.loads(resources.files(__package__).joinpath("special.toml").read_text("utf-8"))
    return frozenset(_plain(name) for names in table.get(use, {}).values() for name in names)
