"""The lists of tokens that stations keep for when they are offline."""
