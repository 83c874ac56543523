"""Sensors, sampler, idle baseline, energy accounts."""
