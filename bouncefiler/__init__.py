"""bouncefiler watches an IMAP account for delivery failures, files them, and says when somebody abuses the address."""

__version__ = "0.1.0"
