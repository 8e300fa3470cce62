"""Find out which runs of a plan are left and how long they will take, and train them here or elsewhere."""
