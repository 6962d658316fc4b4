"""The wire of LayerT2V. It is generated and never edited. See `*.proto` and `generate.sh`."""
