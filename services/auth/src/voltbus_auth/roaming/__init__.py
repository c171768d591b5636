"""Tokens of other parties: the external authorizer (OCPI or Kafka) and what others push."""
