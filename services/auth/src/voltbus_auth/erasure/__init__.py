"""Forgetting a person's token everywhere: reaches across the rooms, hence above them."""
