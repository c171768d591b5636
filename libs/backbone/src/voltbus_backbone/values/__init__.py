"""Values that every service reads alike: hours, identifiers, and what other systems wrote."""
