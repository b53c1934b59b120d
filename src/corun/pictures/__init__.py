"""The one door for pixels, in and out: reading, writing, metadata; nothing here needs torch."""
