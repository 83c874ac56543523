"""Records, Merkle tree, signed checkpoints and what is said about them: pure. `sqlite/` keeps them."""
