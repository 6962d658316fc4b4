"""The cost of a stage of training, before it starts: memory, disk and time."""
