"""Rules about scripts that exist already."""
