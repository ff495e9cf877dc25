"""Many trainings: which, where and in which order, each on disk the moment it ends."""

from typing import TYPE_CHECKING

from fastmlp._moved import moved_names

if not TYPE_CHECKING:  # so that types of other names are still checked
    __getattr__ = moved_names(__name__)
