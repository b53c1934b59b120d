"""The web page: hazy photos in, clear photos out, in a browser."""
