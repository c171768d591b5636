"""The OCPP-J session of one connection: frames, calls both ways, schemas (pure)."""
