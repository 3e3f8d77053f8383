"""AutoAttack: four attacks of different kinds that need no tuning, and the order in which they are run."""
