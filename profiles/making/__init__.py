"""Making profiles: estimated, measured, or fitted to what a deployment served."""
