# ruff: noqa: T201 - this is a command, its output is its purpose
"""Judge mails and print how right that is: python tests/accuracy.py [CORPUS_DIR ...]

A corpus directory holds labels.jsonl and the mails (`messages/<id>.eml` or `<id>.eml`); its own score.py, or the one of
a directory beside it, prints the report. The mails of tests/mail are judged always.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from bouncefiler.recognition.classify import classify
from bouncefiler.recognition.message import read as read_message
from bouncefiler.recognition.rulebook import load
from bouncefiler.recognition.verdict import Verdict

OWN = Path(__file__).parent / "mail"


def prediction(name: str, verdict: Verdict) -> dict[str, object]:
    """Return the verdict as score.py reads it."""
    return {
        "id": name,
        "is_bounce": verdict.kind.is_bounce,
        "kind": verdict.kind.value,
        "cause": verdict.cause.value if verdict.cause else None,
        "recipients": [recipient.final_recipient for recipient in verdict.recipients],
    }


def mails(corpus: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the labelled mails of a corpus directory."""
    folder = corpus / "messages" if (corpus / "messages").is_dir() else corpus
    for line in (corpus / "labels.jsonl").read_text("utf-8").splitlines():
        name = json.loads(line)["id"]
        yield name, (folder / f"{name}.eml").read_bytes()


def scorer(corpus: Path) -> Path | None:
    """Return the score.py of this directory, or of one beside it."""
    found = (corpus / "score.py", *sorted(corpus.resolve().parent.glob("*/score.py")))
    return next((path for path in found if path.is_file()), None)


def measure(corpus: Path) -> None:
    """Judge a corpus directory and print the scorer's report, and the speed."""
    rulebook = load()
    read = list(mails(corpus))
    started = time.perf_counter()
    verdicts = [(name, classify(read_message(raw), rulebook)) for name, raw in read]
    spent = time.perf_counter() - started
    print(f"== {corpus.name}: {len(read)} messages, {len(read) / spent:.0f} a second")
    lines = "\n".join(json.dumps(prediction(name, verdict)) for name, verdict in verdicts)
    if (script := scorer(corpus)) is None:
        print("no score.py here or beside it: nothing to compare with")
        return
    subprocess.run([sys.executable, str(script), str(corpus)], input=lines, text=True, check=True)


def measure_own() -> int:
    """Judge tests/mail against what stands beside each mail; return how many are wrong."""
    rulebook = load()
    wrong = 0
    samples = sorted(OWN.glob("*/*.eml"))
    for sample in samples:
        expected = tomllib.loads(sample.with_suffix(".toml").read_text("utf-8"))
        verdict = classify(read_message(sample.read_bytes()), rulebook)
        said = (verdict.kind, verdict.cause)
        if said != (expected["kind"], expected.get("cause")):
            wrong += 1
            print(f"{sample.parent.name}/{sample.name}: want {expected['kind']}, {expected.get('cause')}; got {said}")
    print(f"== tests/mail: {len(samples)} mails, {wrong} wrong")
    return wrong


def main(arguments: list[str]) -> int:
    """Measure the directories named, then our own mail."""
    for argument in arguments:
        measure(Path(argument))
    return 1 if measure_own() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
