"""Records, Merkle tree, signed checkpoints, the SQLite store and its audit."""
