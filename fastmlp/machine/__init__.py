"""The machine: cores, their description, files, folders, TOML, and Ctrl-C."""

from typing import TYPE_CHECKING

from fastmlp._moved import moved_names

if not TYPE_CHECKING:  # so that types of other names are still checked
    __getattr__ = moved_names(__name__)
