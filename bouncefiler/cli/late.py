"""The modules that the commands call, each loaded when something of it is first wanted: `--help` wants nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bouncefiler import app, parts, render
else:

    class _Late:
        """A module that is loaded when something of it is first wanted."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, name: str) -> object:
            return getattr(import_module(self._name), name)

    app = _Late("bouncefiler.app")
    parts = _Late("bouncefiler.parts")
    render = _Late("bouncefiler.render")

__all__ = ["app", "parts", "render"]
