"""Calls to stations, and the reports of their ends."""
