"""The commands below ``profile``: make engine profiles, look at them, write them anew."""
