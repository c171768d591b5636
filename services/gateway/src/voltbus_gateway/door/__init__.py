"""The door: who may log in, how often, and by which certificate (A1-A9)."""
