"""The account over IMAP (RFC 3501, 9051): what a sweep asks of the outside, on a real server.

imapclient brings the connection: greeting, capabilities, login, APPEND, how folder names are written. Commands whose
answers are long, or decide what happens to mail, go through pipe.Pipe: imapclient cannot pipeline, does not stream,
and keeps COPYUID to itself. What a server says is data: bounded, checked, and shown only as one plain line.
"""

from __future__ import annotations

from bouncefiler.edge.imap.mover import ImapAccount, open_account
from bouncefiler.edge.imap.names import FolderInfo, Names
from bouncefiler.edge.imap.reader import MAX_REFUSALS, ImapReader, Vigil, open_reader

__all__ = ["MAX_REFUSALS", "FolderInfo", "ImapAccount", "ImapReader", "Names", "Vigil", "open_account", "open_reader"]
