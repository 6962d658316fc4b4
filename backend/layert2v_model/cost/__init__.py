"""What a shot takes: tokens, memory, time, precision, and where weights lie."""
