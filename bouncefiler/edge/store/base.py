"""What every part of the store stands on: one connection, read and written with errors in our words."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Self, TypeVar

from bouncefiler.edge.store.database import damage_at, translated
from bouncefiler.edge.store.rows import Row
from bouncefiler.errors import StoreBroken

T = TypeVar("T")

MAX_PARAMETERS = 500
"""How many values are put into one statement; SQLite before 3.32 takes 999."""


class Base:
    """An open state file. Every method raises StoreBroken when the file can't be read."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with translated(self._path):
            self._db.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with translated(self._path):
            try:
                yield self._db
            except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as exc:
                raise StoreBroken(damage_at(self._path, "a value makes no sense")) from exc

    def _read(self, decode: Callable[[Row], T], sql: str, parameters: Sequence[object] = ()) -> tuple[T, ...]:
        with self._reading() as db:
            return tuple(decode(row) for row in db.execute(sql, parameters))


class Writable(Base):
    """… that this process alone holds, to write it."""

    def _transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """Write all that the context does, or nothing of it. `Store` says how."""
        raise NotImplementedError


def only(rows: Sequence[T]) -> T | None:
    """Return the first row; None when there is none."""
    return rows[0] if rows else None


def parts_of(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Part the values into as many as one statement takes."""
    for start in range(0, len(values), MAX_PARAMETERS):
        yield values[start : start + MAX_PARAMETERS]


def those_in(db: sqlite3.Connection, table: str, column: str, keys: Collection[bytes]) -> tuple[bytes, ...]:
    """Return those of the keys that this column of the table has; the names are ours."""
    found = list[bytes]()
    for part in parts_of(list(keys)):
        sql = f"SELECT {column} FROM {table} WHERE {column} IN ({','.join('?' * len(part))})"  # noqa: S608 - see above
        found.extend(key for (key,) in db.execute(sql, part))
    return tuple(found)
