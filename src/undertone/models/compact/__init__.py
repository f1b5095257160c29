"""The starter's own system, in reading order: spectrum, functionals, classifiers, system."""
