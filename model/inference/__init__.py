"""A trained network at work: dense evaluation, streams, generation, export."""
