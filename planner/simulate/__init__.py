"""What a planner would have done to one's traffic: contests on the same arrivals, and their reports."""
