"""Asking people: a blind rating page, its votes, and what they say about the methods."""
