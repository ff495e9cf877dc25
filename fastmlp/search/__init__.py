"""Searches: many trainings, each stored the moment it ends, and ranked."""
