"""What auth decides and records, as values: no clock, no network, no database."""
