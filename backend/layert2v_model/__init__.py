"""LayerT2V on diffusers: the layered model and nothing about wires, files of jobs, or Blender."""
