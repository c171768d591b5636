"""OCPP 1.6, 2.0.1 and 2.1 to the contract and back: routes, one module for each version (pure)."""
