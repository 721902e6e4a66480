"""True bounces: mail servers of Debian, run against a server that refuses. `python -m tests.mta` is the way in."""
