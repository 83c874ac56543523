"""Money, tariffs, pricing, the budget with its holds. Pure: no clock, no disk, no network."""
