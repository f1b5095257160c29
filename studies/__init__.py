"""What makes the things that undertone ships: outside the package, over its public parts."""
