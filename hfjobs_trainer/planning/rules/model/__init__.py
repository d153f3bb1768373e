"""Rules about models, by what they are: files, class, length."""
