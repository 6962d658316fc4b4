"""Files of weights: how they are read, checked, named and written."""
