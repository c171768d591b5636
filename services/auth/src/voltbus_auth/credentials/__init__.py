"""How stations log in: passwords, their rotations, upgrades of security profiles."""
