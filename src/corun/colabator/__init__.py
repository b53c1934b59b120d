"""Colabator: a mean teacher with an optimal label pool, coherence scores and trusted weights."""
