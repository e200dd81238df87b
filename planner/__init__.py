"""The SLA planner: how many prefill and decode workers an LLM deployment needs, all the time."""
