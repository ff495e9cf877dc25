"""Searches: many trainings, each stored the moment it ends, and ranked."""

from typing import TYPE_CHECKING

from fastmlp._moved import moved_names

if not TYPE_CHECKING:  # so that types of other names are still checked
    __getattr__ = moved_names(__name__)
