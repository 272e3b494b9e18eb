"""`list`: show the recipes."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from training.data.data_sets import DataSet
from training.recipes.registry import RECIPES


def run(arguments: Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:  # noqa: ARG001 - one signature for all commands
    """Print name and description of every recipe."""
    for recipe in RECIPES.values():
        print(f"{recipe.name:<14}{recipe.description}")
