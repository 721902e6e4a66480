"""Files that somebody asked for: readable by their owner alone, whole or not there at all, in place of nothing else."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from bouncefiler.errors import OutputRefused

HEAD = 4_096
"""Octets in which a file of ours says that it is one."""


def write(path: Path, text: str, *, mark: str = "", force: bool = False) -> None:
    """Put the text into this file, mode 0600, at once or not at all.

    A file that is there is only replaced if it begins with a page of ours, by its `mark`, or with `force`; what is no
    file, such as a device, never is. Raises OutputRefused.
    """
    try:
        if os.path.lexists(path) and not _may_replace(path, mark, force=force):
            raise OutputRefused(
                f"{path} is there already, and no such page of ours: choose another name, or say --force"
            )
        _replace(path, text)
    except OSError as exc:
        step = "check that the directory is there, has room, and that you may write there"
        raise OutputRefused(f"{path} cannot be written: {exc.strerror}; {step}") from exc


def _may_replace(path: Path, mark: str, *, force: bool) -> bool:
    if not path.is_file():
        raise OutputRefused(f"{path} is no file that could be replaced: choose another name, or - to print it")
    if force:
        return True
    with path.open("rb") as file:
        return bool(mark) and mark.encode() in file.read(HEAD)


def _replace(path: Path, text: str) -> None:
    target = path.resolve()
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
