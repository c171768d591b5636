"""What stands on the wire: frames, payload schemas, error codes, times, limits (pure)."""
