"""What somebody asked for is written whole, for them alone, and over nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bouncefiler.edge import files
from bouncefiler.errors import OutputRefused

MARK = "a page of ours"


def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files.write(tmp_path / "new", "text")
    finally:
        os.umask(before)

    assert (tmp_path / "new").read_text(encoding="utf-8") == "text"
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_page_of_ours_is_replaced_and_is_private_even_if_it_was_not(tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.write_text(f"<meta {MARK}>", encoding="utf-8")
    page.chmod(0o644)

    files.write(page, "newer", mark=MARK)

    assert page.read_text(encoding="utf-8") == "newer"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600


@pytest.mark.parametrize("mark", ["", MARK])
def test_any_other_file_is_only_replaced_by_force(tmp_path: Path, mark: str) -> None:
    other = tmp_path / "other"
    other.write_text("dear diary", encoding="utf-8")

    with pytest.raises(OutputRefused, match="--force"):
        files.write(other, "text", mark=mark)
    assert other.read_text(encoding="utf-8") == "dear diary"

    files.write(other, "text", mark=mark, force=True)
    assert other.read_text(encoding="utf-8") == "text"


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "page").write_text(MARK, encoding="utf-8")
    (tmp_path / "link").symlink_to("page")

    files.write(tmp_path / "link", "newer", mark=MARK)

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "page").read_text(encoding="utf-8") == "newer"


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    for path in (pipe, tmp_path, Path("/dev/null")):
        with pytest.raises(OutputRefused, match="no file"):
            files.write(path, "text", force=True)
    assert pipe.is_fifo()
    assert Path("/dev/null").is_char_device()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputRefused, match="nowhere"):
        files.write(tmp_path / "nowhere" / "page", "text")
