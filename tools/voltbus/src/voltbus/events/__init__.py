"""Reading the public event topics: which events to show, and what they say in words."""
