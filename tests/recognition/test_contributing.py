"""CONTRIBUTING.md tells the truth: a format and a language are rows and a mail, no Python."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest

from bouncefiler.errors import ConfigError
from bouncefiler.recognition.rulebook import Rulebook, read_folder
from tests.recognition.samples import verdict_of

ROOT = Path(__file__).parents[2]
RULES = ROOT / "bouncefiler" / "recognition" / "rules"
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
FILES = dict(re.findall(r"<!-- (\S+) -->\n```\w*\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A copy of our tables, with those of the page beside them."""
    copied = tmp_path / "rules"
    shutil.copytree(RULES, copied)
    for name, text in FILES.items():
        if name.startswith("rules/"):
            (tmp_path / name).write_text(text, "utf-8")
    return copied


def said(mail: str, rulebook: Rulebook) -> dict[str, object]:
    verdict = verdict_of(FILES[f"{mail}.eml"].encode(), rulebook=rulebook)
    return {
        "kind": verdict.kind.value,
        "cause": verdict.cause.value if verdict.cause else None,
        "recipients": [recipient.final_recipient for recipient in verdict.recipients],
        "format": verdict.format,
    }


@pytest.mark.parametrize("mail", ["tests/mail/pelican/no-such-nest", "tests/mail/generic/tlh"])
def test_the_page_teaches_a_format_and_a_language(mail: str, rules: Path) -> None:
    """With the page's rows the page's mail is what the page says; without them it is not."""
    wanted = tomllib.loads(FILES[f"{mail}.toml"])
    taught, untaught = said(mail, read_folder(rules)), said(mail, read_folder(RULES))

    assert {key: taught[key] for key in wanted} == wanted
    assert {key: untaught[key] for key in wanted} != wanted


def test_a_table_that_is_no_toml_is_named(rules: Path) -> None:
    """Whoever mistypes a bracket is told where."""
    (rules / "formats" / "pelican.toml").write_text("[[layout]\n", "utf-8")

    with pytest.raises(ConfigError, match=r"pelican\.toml: not TOML"):
        read_folder(rules)


def test_a_row_with_an_unknown_field_is_named(rules: Path) -> None:
    """File, row, key, and what was meant."""
    (rules / "formats" / "pelican.toml").write_text(FILES["rules/formats/pelican.toml"].replace("text =", "txt ="))

    with pytest.raises(ConfigError, match=r"formats/pelican\.toml: pelican\.came-back: when\.txt: unknown field"):
        read_folder(rules)
