"""What the gateway reports on its own: refusals, repairs, contested identities."""
