"""The gateway's and the client's side of one log, simulated: the real rules and files, a made-up network and time.

Rule: one seed is one story, and a story is data. Whatever happens in it happens again wherever it is played.
"""
