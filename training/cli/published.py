"""Lookup of published versions by the names on the command line."""

from collections.abc import Mapping
from pathlib import Path

from service.core.artifact import artifact
from service.core.artifact.artifact import Artifact
from service.core.artifact.manifest import Manifest
from training.data.data_sets import DataSet
from training.data.examples import Split
from training.errors import OwnDataUnknown, UnknownName
from training.recipes.own import DATA as OWN_DATA
from training.recipes.recipe import Recipe
from training.recipes.registry import RECIPES


def find_versions(models: Path, name: str, version: str | None) -> list[tuple[str, str]]:
    """Return name and version of published networks, oldest version first.

    Args:
        models: Models folder.
        name: Name of a model; `all` for every model.
        version: Version; None for every version.

    Raises:
        UnknownName: There is no such model or version.
    """
    found = artifact.versions(models)
    names = list(found) if name == "all" else [name]
    if missing := [each for each in names if each not in found]:
        raise UnknownName("Model", missing[0], [*found, "all"])
    pairs = [(each, number) for each in names for number in found[each] if version in (None, number)]
    if not pairs:
        raise UnknownName(f"Version of {name}", str(version), found.get(name, []))
    return pairs


def find_float_version(models: Path, name: str, version: str | None) -> Artifact:
    """Read a float32 version of a model, the newest if `version` is None.

    Raises:
        UnknownName: There is no such model or float32 version.
    """
    found = {
        number: published
        for name, number in find_versions(models, name, None)
        if (published := artifact.read(models, name, number)).manifest.layers[0].rounding is None
    }
    if not found or version not in (None, *found):
        raise UnknownName(f"Float32 version of {name}", str(version), list(found))
    return found[version] if version else next(reversed(found.values()))


def recipe_of(manifest: Manifest) -> Recipe:
    """Return the recipe of a published network.

    Raises:
        UnknownName: The recipe no longer exists.
    """
    name = str(manifest.recipe.get("name"))
    if name not in RECIPES:
        raise UnknownName(f"Recipe of {manifest.name}/{manifest.version}", name, list(RECIPES))
    return RECIPES[name]


def data_of(manifest: Manifest, data: Path, data_sets: Mapping[str, DataSet]) -> Split:
    """Read the data that a published network was fitted and evaluated on, from the data folder.

    Raises:
        OwnDataUnknown: It was fitted on a user's own data.
    """
    name = str(manifest.recipe.get("data", "mnist"))
    if name == OWN_DATA:
        raise OwnDataUnknown(f"{manifest.name}/{manifest.version}")
    return data_sets[name].published_split(data)
