"""Rules about what is read from the Hub, what is kept there, and who may."""
