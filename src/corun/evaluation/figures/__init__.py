"""Figures of a comparison, PNG and PDF, the same bytes each time."""
