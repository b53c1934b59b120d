"""Haze density and image quality behind two small protocols, one file each."""
