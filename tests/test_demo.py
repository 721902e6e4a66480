"""The demo shows what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from bouncefiler.recognition import classify, rulebook
from demo import samples

ROOT = Path(__file__).parent.parent
NOW = datetime(2026, 3, 14, 15, 9, tzinfo=UTC)


def test_the_bounces_of_the_demo_are_recognised_with_their_cause() -> None:
    """All bounces in Ana's mailbox, and nothing else, are taken for bounces, each for the right reason."""

    rules = rulebook.load()
    for sample in samples.mailbox(NOW):
        verdict, subject = classify.examine(sample.raw, False, rules)  # noqa: FBT003 - whole, not cut
        assert verdict.kind.is_bounce == (sample.cause is not None), subject
        assert verdict.cause == sample.cause, subject


def test_the_mailbox_is_the_same_at_every_look() -> None:
    """The same moment gives the same mailbox, so that what is shown of it can be compared."""

    assert samples.mailbox(NOW) == samples.mailbox(NOW)


def test_the_demo_shows_preview_clean_and_the_alert() -> None:
    """`make demo` files all bounces, shows the one alert about the wave, and ends with nothing left to do."""

    mailbox = samples.mailbox(NOW)
    bounces = sum(sample.cause is not None for sample in mailbox)
    done = subprocess.run(
        [sys.executable, "-m", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    preview, clean, again, report = (part.partition("\n***")[0] for part in done.stdout.split("$ bouncefiler ")[1:])
    assert f"{bounces} of {len(mailbox)} messages would be filed in Bounces." in preview
    assert f"{bounces} of {len(mailbox)} messages were filed in Bounces." in clean
    assert f"{samples.WAVE} bounces in 24 hours" in clean
    assert f"Subject: Is somebody sending mail in your name? {samples.WAVE} bounces" in done.stdout
    assert "nothing to file" in again
    (page,) = re.findall(r"The report is in (/\S+/report\.html);", report)
    assert f'<td class="number"><bdi>{bounces}</bdi></td>' in Path(page).read_text(encoding="utf-8")
    assert done.stdout.rstrip().endswith(page)
    shutil.rmtree(Path(page).parent)
