"""LLM serving on a virtual clock, request by request."""
