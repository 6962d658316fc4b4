"""What a stage of training costs, before it starts: memory, disk and time."""
