"""What makes corun's networks known to other programs."""
