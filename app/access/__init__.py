"""Who may do what: principals, keys, clients, limits, this machine or not, and how the answer no is said."""
