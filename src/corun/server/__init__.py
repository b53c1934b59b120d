"""The HTTP service and the server code that every page of corun stands on."""
