"""Photos in: rendered scenes, haze synthesis, folders of pairs, depth and real photos."""
