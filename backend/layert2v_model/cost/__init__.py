"""The cost of a shot: tokens, memory, time, precision, and the place of weights."""
