"""What the four services share: the contract, the bus, and the shape of a service."""
