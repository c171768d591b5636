"""The opening request, and how often the same thing is worth telling (pure)."""
