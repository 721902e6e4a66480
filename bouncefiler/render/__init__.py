"""Verdicts, plans, reports and alerts as text for people, or as JSON for programs. Nothing is printed from here.

What is to be said is first a Document: paragraphs and tables whose text is clean. `lay_out` makes one string of it, for
a terminal (with rich, which only `layout` knows) or for a pipe. Whatever stems from mail or from a server passes
`clean_text` on its way into a Document, and JSON's own escapes on its way into a record.
"""

from __future__ import annotations

from bouncefiler.render.filing import Overview, cleaned, preview
from bouncefiler.render.harmless import cells, clean_lines, clean_text
from bouncefiler.render.layout import Block, Column, Document, Look, Paragraph, Table, Tone, lay_out, progress
from bouncefiler.render.news import alert, posture, waves
from bouncefiler.render.past import LATEST_RUNS, run, runs, undo, undone
from bouncefiler.render.records import (
    Json,
    alert_json,
    explain_json,
    plan_json,
    posture_json,
    preview_json,
    report_json,
    run_json,
    runs_json,
    to_json,
    undo_json,
    waves_json,
)
from bouncefiler.render.verdict import explain
from bouncefiler.render.words import Words

__all__ = [
    "LATEST_RUNS",
    "Block",
    "Column",
    "Document",
    "Json",
    "Look",
    "Overview",
    "Paragraph",
    "Table",
    "Tone",
    "Words",
    "alert",
    "alert_json",
    "cells",
    "clean_lines",
    "clean_text",
    "cleaned",
    "explain",
    "explain_json",
    "lay_out",
    "plan_json",
    "posture",
    "posture_json",
    "preview",
    "preview_json",
    "progress",
    "report_json",
    "run",
    "run_json",
    "runs",
    "runs_json",
    "to_json",
    "undo",
    "undo_json",
    "undone",
    "waves",
    "waves_json",
]
