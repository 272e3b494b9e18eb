"""Command line flags of a recipe's hyperparameters."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, get_args, get_type_hints

from training.errors import RecipeInvalid
from training.recipes.recipe import Recipe

_NO_FLAGS = ("name", "model", "data", "teacher", "network", "strides", "pooled")
"""Fields of a recipe without a flag: the data, the name, and the architecture of teachers."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add one flag per hyperparameter."""
    group = parser.add_argument_group("hyperparameters", "each replaces the recipe's")
    for name, (kind, meaning) in _kinds().items():
        flag = f"--{name.replace('_', '-')}"
        if kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=meaning)
        elif kind in (int, float, str):
            metavar = "TEXT" if kind is str else "N"
            group.add_argument(flag, type=kind, metavar=metavar, help=meaning)
        else:
            group.add_argument(flag, type=_integers, metavar="N,N,…", help=f"{meaning}; '' for none")


def overridden(recipe: Recipe, arguments: argparse.Namespace) -> Recipe:
    """Return a recipe with the hyperparameters given on the command line.

    Raises:
        RecipeInvalid: A value is out of range.
    """
    try:
        return replace(recipe, **given(arguments))
    except ValueError as error:
        raise RecipeInvalid("The hyperparameters", "valid", str(error)) from error


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the hyperparameters given on the command line, by name."""
    found = {name: getattr(arguments, name) for name in _kinds()}
    return {name: value for name, value in found.items() if value is not None}


@cache
def _kinds() -> Mapping[str, tuple[Any, str]]:
    """Return type and meaning of each hyperparameter with a flag."""
    hints = get_type_hints(Recipe, include_extras=True)
    pairs = {name: get_args(hint) for name, hint in hints.items() if name not in _NO_FLAGS}
    return {name: (kind, meaning) for name, (kind, meaning) in pairs.items()}


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(",") if number.strip())
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"should be integers such as 512,512; got {text!r}") from error
