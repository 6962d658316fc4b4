"""The front door's server: its address, its border, and how it starts, serves and drains."""
