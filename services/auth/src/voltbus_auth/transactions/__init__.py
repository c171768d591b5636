"""What was charged: transactions from stations' messages, in whatever order they come."""
