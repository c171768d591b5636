"""MongoDB as every store uses it: connection, transactions, the outbox, what REST keeps."""
