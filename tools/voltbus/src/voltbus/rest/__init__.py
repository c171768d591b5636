"""The services' REST interface as the command line uses it."""
