"""The authors' release: its names, its files, and `layert2v-import`."""
