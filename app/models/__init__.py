"""Models: which there are, which would fit, and getting, loading, updating and removing them."""
