"""From noise to latents: steps, guidance, given streams, and the formats of a shot."""
