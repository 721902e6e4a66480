"""What runs have moved, and what of it has been put back since."""

from __future__ import annotations

from datetime import datetime

from bouncefiler.edge.store.base import Base, only
from bouncefiler.edge.store.rows import EPOCH, epoch, first_column, to_filed_message, to_past_run
from bouncefiler.filing.undo import FiledMessage, PastRun

# Here and below, state 1 is Outcome.MOVED in OUTCOMES.
_UNDONE = "EXISTS (SELECT 1 FROM move AS back WHERE back.undoes = move.id AND back.state = 1)"

NOT_UNDONE = f"NOT {_UNDONE}"
"""Of a row of `move`: it has not been put back."""


class PastReader(Base):
    """What runs have moved; nothing here is ever changed, but forgotten after KEPT."""

    def past_runs(self, since: datetime | None = None, limit: int = -1) -> tuple[PastRun, ...]:
        """Return the runs that moved mail and began at `since` or later, newest first; -1 is no limit."""
        moved = "SELECT count(*) FROM batch JOIN move ON move.batch = batch.id WHERE batch.run = run.id AND state = 1"
        return self._read(
            to_past_run,
            "SELECT id, command, began, moved, undone FROM ("  # noqa: S608 - ours
            f"SELECT id, command, began, ({moved}) AS moved, ({moved} AND {_UNDONE}) AS undone FROM run"
            " WHERE began >= ?) WHERE moved > 0 ORDER BY id DESC LIMIT ?",
            (epoch(since or EPOCH), limit),
        )

    def filed_in(self, run: int) -> tuple[FiledMessage, ...]:
        """Return what this run moved, in the order of its intent."""
        return self._filed_where("run = ?", run)

    def filed_since(self, since: datetime) -> tuple[FiledMessage, ...]:
        """Return what was filed, and not put back since, by the runs that began at `since` or later."""
        return tuple(
            filed
            for filed in self._filed_where("run IN (SELECT id FROM run WHERE began >= ?)", epoch(since))
            if filed.undoes is None and not filed.undone
        )

    def filed_as(self, number: int) -> tuple[FiledMessage, ...]:
        """Return the message of this number, or nothing."""
        return self._filed_where("move.id = ?", number)

    def filed_last(self) -> tuple[FiledMessage, ...]:
        """Return what the latest run filed of which something has not been put back."""
        latest = only(
            self._read(
                first_column,
                "SELECT run FROM batch WHERE EXISTS (SELECT 1 FROM move WHERE move.batch = batch.id AND state = 1"  # noqa: S608 - ours
                f" AND undoes IS NULL AND {NOT_UNDONE}) ORDER BY id DESC LIMIT 1",
            )
        )
        return () if latest is None else tuple(filed for filed in self.filed_in(latest) if not filed.undone)

    def _filed_where(self, condition: str, value: int) -> tuple[FiledMessage, ...]:
        return self._read(
            to_filed_message,
            "SELECT move.id, run, source, uidvalidity, uid, target, move.to_uidvalidity, to_uid, batch.to_uidvalidity,"  # noqa: S608 - ours
            f" to_uidnext, fingerprint, size, received_at, kind, cause, subject, recipients, {_UNDONE}, undoes"
            f" FROM batch JOIN move ON move.batch = batch.id WHERE state = 1 AND {condition} ORDER BY move.id",
            (value,),
        )
