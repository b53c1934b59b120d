"""Command line and services: thin, no mathematics."""
