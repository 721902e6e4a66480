"""What others do to the account and to the state while a run is under way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from tests.chaos import world
from tests.chaos.rounds import Act, Patient
from tests.dovecot import Mail, Mailbox


def _in_the_mailbox(do: Callable[[Mailbox, Callable[[str], str]], object]) -> Callable[[Patient], None]:
    def act(patient: Patient) -> None:
        do(patient.mailbox, patient.own)

    return act


def _move(to: str, uid: str) -> Callable[[Patient], None]:
    """Move a message as an old mail program does: copy, mark, remove."""

    def act(patient: Patient) -> None:
        with patient.mailbox.session() as client:
            client.create(patient.own(to))  # it may be there
            client.select(patient.own("INBOX"))
            client.uid("COPY", uid, patient.own(to))
            client.uid("STORE", uid, "+FLAGS.SILENT", "(\\Deleted)")
            client.uid("EXPUNGE", uid)

    return act


def _renumber(folder: str) -> Callable[[Patient], None]:
    def act(patient: Patient) -> None:
        there = any(item.folder == folder for item in patient.contents())
        if there and patient.mailbox.renumberable(patient.own(folder)):
            patient.mailbox.renumber(patient.own(folder))

    return act


def _forget(patient: Patient) -> None:
    for path in patient.state.parent.glob(patient.state.name + "*"):
        with suppress(FileNotFoundError):
            path.unlink()


MAILBOX = (
    Act("marks a bounce as read", _in_the_mailbox(lambda box, own: box.flag(own("INBOX"), "9", "\\Seen"))),
    Act("marks a bounce as deleted", _in_the_mailbox(lambda box, own: box.flag(own("INBOX"), "10", "\\Deleted"))),
    Act("removes a bounce", _in_the_mailbox(lambda box, own: box.expunge(own("INBOX"), "10"))),
    Act("removes a letter", _in_the_mailbox(lambda box, own: box.expunge(own("INBOX"), "7"))),
    Act("moves a twin to the bounces", _move(world.FOLDER, "12"), doubles=1),
    Act("moves a bounce elsewhere", _move("Saved", "9"), doubles=1),
    Act("sends a twin", _in_the_mailbox(lambda box, own: box.deliver(Mail(world.bounce(3), world.NOON)))),
    Act("sends a letter", _in_the_mailbox(lambda box, own: box.deliver(Mail(world.letter(99), world.NOON)))),
    Act("renumbers INBOX", _renumber("INBOX"), doubles=3, hides_twins=True),
    Act("renumbers the bounces", _renumber(world.FOLDER), doubles=3, hides_twins=True),
)
"""What another client, or the administrator, may do."""

STATE = (Act("deletes the state", _forget, doubles=3, hides_twins=True),)
"""What may become of our own memory. Without it nobody knows what was copied and not yet removed."""
