"""What is done with messages, and at times."""
