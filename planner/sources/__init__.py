"""Where an observation comes from."""
