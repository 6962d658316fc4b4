"""Model folders: read strictly, and written."""
