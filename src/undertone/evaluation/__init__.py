"""Numbers and whether to believe them. No torch here."""
