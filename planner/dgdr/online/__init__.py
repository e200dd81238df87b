"""What a profiling job does: temporary deployments, measured one after the other."""
