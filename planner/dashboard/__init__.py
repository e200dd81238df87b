"""The web page that shows what the planner sees, expects, decides and why: live, and of recorded runs."""
