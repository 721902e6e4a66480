"""The folder for a use is found by its flag, else by its name."""

from __future__ import annotations

import unicodedata

import pytest

from bouncefiler.edge.imap.names import FolderInfo
from bouncefiler.edge.imap.special import all_special_folders, special_folders


def listing(*names: str, **flagged: str) -> list[FolderInfo]:
    return [FolderInfo(name, ("\\HasNoChildren",)) for name in ("INBOX", *names)] + [
        FolderInfo(name, ("\\HasNoChildren", flag)) for name, flag in flagged.items()
    ]


def test_the_flag_decides_whatever_the_name_is() -> None:
    assert special_folders(listing("Sent", Postkasten="\\Sent"), "\\Sent") == ("Postkasten",)


def test_flags_are_read_in_any_case() -> None:
    assert special_folders(listing(Post="\\sENT"), "\\Sent") == ("Post",)


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("Sent", "\\Sent"),
        ("SENT ITEMS", "\\Sent"),
        ("INBOX/Sent", "\\Sent"),
        ("INBOX.Sent", "\\Sent"),
        ("[Gmail]/E-mails enviados", "\\Sent"),
        ("Itens Enviados", "\\Sent"),
        (unicodedata.normalize("NFD", "Éléments envoyés"), "\\Sent"),
        ("Отправленные", "\\Sent"),
        ("已发送", "\\Sent"),
        ("Rascunhos", "\\Drafts"),
        ("Entwürfe", "\\Drafts"),
        ("下書き", "\\Drafts"),
    ],
)
def test_without_a_flag_the_usual_names_do(name: str, use: str) -> None:
    assert special_folders(listing("Work", name), use) == (name,)


@pytest.mark.parametrize("name", ["Sentences", "Archive/2019/Sent", "Drafts", "Outbox"])
def test_other_names_do_not(name: str) -> None:
    """A folder that somebody has filed away is no folder that their mail program writes to."""

    assert special_folders(listing(name), "\\Sent") == ()


def test_a_folder_that_holds_no_mail_is_none() -> None:
    folders = [FolderInfo("Sent", ("\\Noselect",)), FolderInfo("Old", ("\\Sent", "\\NonExistent"))]

    assert special_folders(folders, "\\Sent") == ()


def test_a_use_without_names_is_known_by_its_flag_alone() -> None:
    folders = listing("All Mail", Todos="\\All")

    assert special_folders(folders, "\\All") == ("Todos",)
    assert special_folders(folders, "\\Flagged") == ()


def test_for_reading_a_usual_name_counts_beside_a_flag() -> None:
    """Outlook keeps a folder of its own beside the one that the server has marked."""

    folders = listing("Sent Items", "Work", Sent="\\Sent", Enviados="\\Trash")

    assert all_special_folders(folders, "\\Sent") == ("Sent", "Sent Items")
