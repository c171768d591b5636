"""What config decides, as pure functions: values and the time in, values out."""
