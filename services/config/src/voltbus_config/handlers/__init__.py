"""What config does about what it reads from Kafka and about what its clock says."""
