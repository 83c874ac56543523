"""What every room stands on: the clocks, resources, threads for what blocks, addresses.

Rule 1: nothing here knows what the house is for. Rule 2: what two rooms would each write for themselves stands
here once.
"""
