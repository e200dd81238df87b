"""What was recorded, looked at afterwards: queries, and the same observations decided anew."""
