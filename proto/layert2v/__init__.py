"""The wire of LayerT2V: generated, never edited; see `*.proto` and `generate.sh`."""
