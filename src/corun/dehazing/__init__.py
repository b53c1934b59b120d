"""Image files in, clear image files out."""
