"""Many trainings: which, where and in which order, each on disk the moment it ends."""
