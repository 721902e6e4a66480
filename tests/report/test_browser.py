"""The page in a real browser: it keeps its own rules, and can be read by night, on a telephone and on paper."""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bouncefiler.report.page import page
from tests.report.tales import QUIET
from tests.report.test_page import FULL

CHROMIUM, PDFTOTEXT = Path("/usr/bin/chromium"), Path("/usr/bin/pdftotext")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-pdf-header-footer",
    "--enable-logging=stderr",
)
DARK, LIGHT = 0, 1

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM.exists() and PDFTOTEXT.exists()),
        reason="chromium or pdftotext is not installed (Debian: chromium, poppler-utils)",
    ),
]


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bouncefiler-page-") as place:
        room = Path(place)
        for language in ("en", "pt"):
            for name, told in (("full", FULL), ("quiet", QUIET)):
                html = page([replace(told, language=language)])
                (room / f"{name}-{language}.html").write_text(html, encoding="utf-8")
        yield room


@dataclass(frozen=True, slots=True)
class Seen:
    """What the browser printed, and what it complained of."""

    out: str
    complaints: list[str]


def look(place: Path, *options: str, scheme: int = LIGHT, size: str = "800,2400") -> Seen:
    with tempfile.TemporaryDirectory(prefix="bouncefiler-browser-") as profile:
        command = [
            str(CHROMIUM),
            *OPTIONS,
            f"--user-data-dir={profile}",
            f"--window-size={size}",
            f"--blink-settings=preferredColorScheme={scheme}",
            *options,
            place.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return Seen(done.stdout, re.findall(r"CONSOLE\S*\] (.*)", done.stderr))


@dataclass(frozen=True, slots=True)
class Png:
    """A picture of eight bits a channel (PNG, third edition), as far as it is looked at here."""

    width: int
    height: int
    first: tuple[int, ...]
    """The pixel in the upper left corner: red, green, blue."""
    distinct_lines: int

    @classmethod
    def read(cls, path: Path) -> Png:
        data = path.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
        assert (depth, colour) in {(8, 2), (8, 6)}
        packed, at = b"", 8
        while at < len(data):
            (size,) = struct.unpack(">I", data[at : at + 4])
            if data[at + 4 : at + 8] == b"IDAT":
                packed += data[at + 8 : at + 8 + size]
            at += size + 12
        raw, line = zlib.decompress(packed), 1 + width * (3 if colour == 2 else 4)
        lines = {raw[i + 1 : i + line] for i in range(0, len(raw), line)}
        return cls(width, height, tuple(raw[1:4]), len(lines))  # every filter leaves the first pixel as it is


@pytest.mark.parametrize("name", ["full-en", "full-pt", "quiet-en"])
def test_the_browser_shows_the_page_and_complains_of_nothing(room: Path, name: str) -> None:
    seen = look(room / f"{name}.html", "--dump-dom")

    assert seen.complaints == []
    assert ("Is all well?" if name.endswith("en") else "Está tudo bem?") in seen.out
    assert seen.out.count('<svg class="chart"') == (0 if name.startswith("quiet") else 2)


def test_what_the_page_forbids_does_not_happen_and_would_be_told(room: Path) -> None:
    """The page's own policy stops a script and a picture, if one should ever get in; and this is how that looks."""

    broken = room / "broken.html"
    bad = "<script>document.title = 'owned'</script><img src='https://evil.example/x.png'></main>"
    broken.write_text((room / "full-en.html").read_text(encoding="utf-8").replace("</main>", bad), encoding="utf-8")

    seen = look(broken, "--dump-dom")

    assert "<title>owned" not in seen.out
    assert len([line for line in seen.complaints if "Content Security Policy" in line]) == 2


@pytest.mark.parametrize(("scheme", "background"), [(LIGHT, (0xFF, 0xFF, 0xFF)), (DARK, (0x14, 0x17, 0x1B))])
def test_the_page_follows_the_colours_of_the_desktop(
    room: Path, tmp_path: Path, scheme: int, background: tuple[int, ...]
) -> None:
    seen = look(room / "full-en.html", f"--screenshot={tmp_path / 'shot.png'}", scheme=scheme)

    shot = Png.read(tmp_path / "shot.png")
    assert seen.complaints == []
    assert (shot.width, shot.height) == (800, 2400)
    assert shot.first == background
    assert shot.distinct_lines > 300, "the page is all but blank"


MEASURE = """<!DOCTYPE html><iframe src="{name}" style="width:360px;height:700px;border:0" onload="
  const page = this.contentDocument.documentElement;
  const newest = [...page.querySelectorAll('.chart')].map(chart => chart.getBoundingClientRect().right);
  document.title = 'wide ' + page.scrollWidth + ' of ' + page.clientWidth
    + (newest.every(right => right <= 360) ? ', newest day seen' : ', newest day hidden');"></iframe>"""


@pytest.mark.parametrize("name", ["full-en", "full-pt"])
def test_on_a_telephone_nothing_is_wider_than_the_screen_and_the_newest_day_is_seen(room: Path, name: str) -> None:
    frame = room / f"frame-{name}.html"
    frame.write_text(MEASURE.format(name=f"{name}.html"), encoding="utf-8")

    seen = look(frame, "--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom")

    assert "<title>wide 360 of 360, newest day seen</title>" in seen.out


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
@pytest.mark.parametrize("language", ["en", "pt"])
def test_all_of_it_is_on_the_printed_page(room: Path, tmp_path: Path, language: str, scheme: int) -> None:
    source, pdf = room / f"full-{language}.html", tmp_path / "page.pdf"
    look(source, f"--print-to-pdf={pdf}", scheme=scheme)

    printed = subprocess.run([PDFTOTEXT, pdf, "-"], capture_output=True, text=True, timeout=60, check=True).stdout
    words = " ".join(printed.split())
    headings = re.findall(r"<h3>(.*?)</h3>", source.read_text(encoding="utf-8"))

    assert len(headings) == 9
    assert [heading for heading in headings if heading not in words] == []
    assert "clara@example.net" in words
    assert 2 <= printed.count("\f") <= 6
