"""The machine: cores, threads, files, folders, streams, signals, TOML, and its description."""

from typing import TYPE_CHECKING

from fastmlp._moved import moved_names

if not TYPE_CHECKING:  # so that types of other names are still checked
    __getattr__ = moved_names(__name__)
