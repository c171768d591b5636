"""The bus: envelopes, the batch loop, asking, dead letters; `kafka` alone knows aiokafka."""
