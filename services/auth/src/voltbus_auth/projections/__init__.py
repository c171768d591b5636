"""Agreements and stations, as auth sees what other services tell of them."""
