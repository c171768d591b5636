"""What auth does with each batch of records: load, decide, write once, answer."""
