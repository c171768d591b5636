"""Contract certificates: their chains, their status, the roots to trust."""
