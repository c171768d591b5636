"""Tokens: their identifiers and keys, their rights, import and export."""
