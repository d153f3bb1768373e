"""Rules of the methods whose model calls functions while it answers, and acts in environments."""
