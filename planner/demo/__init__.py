"""A deployment stand-in, and the real planner driving it."""
