"""One station's connection: its session, its budget, and what it may have in hand."""
