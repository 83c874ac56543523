"""Why we are not serving now: blockers."""
