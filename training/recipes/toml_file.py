"""Reader of recipe files: a recipe's hyperparameters by name, in TOML.

The name of the file is the recipe's name. `teacher` is the name of another file in the same folder.
"""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from training.errors import RecipeInvalid
from training.recipes.lesson import LESSON_SPLIT_SEED
from training.recipes.recipe import Recipe

SUFFIX = ".toml"

_DEFAULTS: Mapping[str, Any] = {
    "description": "",
    "drop_epochs": (),
    "drop_factor": 1.0,
    "seed": 1,
    "lesson_seeds": (),
    "lesson_split_seed": LESSON_SPLIT_SEED,
}
"""Values of fields that a recipe always has and a file may leave out."""

_REQUIRED = ("hidden", "initialisation", "batch_size", "epochs", "learning_rate")

_MAX_BYTES = 2**16


def read(path: Path) -> Recipe:
    """Read a recipe file.

    Raises:
        RecipeInvalid: The file does not exist or is not TOML, a field is unknown, missing or of another
            type, or a value is out of range.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES)
        found = tomllib.loads(content.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeInvalid(path.name, "a file that can be read", str(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeInvalid(path.name, "TOML", str(error)) from error
    return to_recipe(path.stem, found, path)


def to_recipe(name: str, found: Mapping[str, Any], path: Path) -> Recipe:
    """Return the recipe with the fields of a file.

    Args:
        name: Name of the recipe.
        found: The fields.
        path: The file, for messages and for its teacher's file.

    Raises:
        RecipeInvalid: As for `read`.
    """
    known = [field.name for field in fields(Recipe) if field.name != "name"]
    for field in found:
        if field not in known:
            near = difflib.get_close_matches(field, known, 1)
            raise RecipeInvalid(path.name, f"of known fields{f' such as {near[0]}' if near else ''}", field)
    if missing := [field for field in _REQUIRED if field not in found]:
        raise RecipeInvalid(path.name, f"with {', '.join(missing)}", "nothing")
    values = {field: _value(field, value, path) for field, value in found.items()}
    try:
        return Recipe(name=name, **{**_DEFAULTS, **values})
    except ValueError as error:
        raise RecipeInvalid(path.name, "a valid recipe", str(error)) from error


def _value(field: str, value: Any, path: Path) -> Any:  # noqa: ANN401 - a value of TOML is of any type
    if field == "teacher":
        if not isinstance(value, str):
            raise RecipeInvalid(path.name, "of a teacher by name", repr(value))
        return read(path.parent / f"{Path(value).name}{SUFFIX}")
    kind = get_args(get_type_hints(Recipe, include_extras=True)[field])[0]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (int, float, str, bool):
        if type(value) is not kind:
            raise RecipeInvalid(path.name, f"of {field} as {_KINDS[kind]}", repr(value))
        return value
    if not isinstance(value, list) or not all(type(each) is int for each in value):
        raise RecipeInvalid(path.name, f"of {field} as a list of integers", repr(value))
    return tuple(value)


_KINDS = {int: "an integer", float: "a number", str: "a text", bool: "true or false"}
