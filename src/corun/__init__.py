"""corun takes the haze out of real photos and videos, and trains the networks that do it."""
