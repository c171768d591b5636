"""What the service does about Kafka messages, about changes, and about time."""
