"""Calls of stations: which service answers, and what a station hears."""
