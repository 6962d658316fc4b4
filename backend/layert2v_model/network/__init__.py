"""The transformer: its blocks, attention, positions of tokens, and what is kept between steps."""
