"""THE OUTSIDE. One door per dependency; foreign types and exceptions stop here."""
