"""The front door's listener: where it listens, its border, how it starts, serves and drains."""
