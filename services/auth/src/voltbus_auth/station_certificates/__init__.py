"""Certificates that stations ask for: who signs them, when they are renewed."""
