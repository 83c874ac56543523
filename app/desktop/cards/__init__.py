"""The cards of the overview, each one idea: they are shown a snapshot and know nothing of each other."""
