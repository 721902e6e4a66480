"""`python -m bouncefiler`."""

from bouncefiler.cli import main

main(prog_name="bouncefiler")
