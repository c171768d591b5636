"""Certificates of stations' own: requests, whoever signs, chains, and the life of each (A02)."""
