"""The recipes that can be fitted and published, by name: the TOML files of this folder."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from training.recipes import toml_file
from training.recipes.recipe import Recipe

FOLDER = Path(__file__).parent

_FIRST = (
    "softmax",
    "mlp-128",
    "mlp-512x4",
    "flowers17",
    "softmax-2",
    "mlp-128-2",
    "mlp-512x4-2",
    "flowers17-2",
    "ink",
)
"""The lesson's recipes, then the better ones; further files follow in alphabetical order."""


class RecipeFolder(Mapping[str, Recipe]):
    """The recipes of a folder of TOML files, read when the first one is looked up.

    Teachers, which are convolutional, are left out: they are not published.

    Raises:
        RecipeInvalid: At the first lookup, if a file is not valid.
    """

    def __init__(self, folder: Path) -> None:
        """Name a folder; nothing is read yet."""
        self._folder = folder

    @cached_property
    def _recipes(self) -> dict[str, Recipe]:
        found = {
            path.stem: toml_file.read(path) for path in sorted(self._folder.glob(f"*{toml_file.SUFFIX}"))
        }
        names = [*(name for name in _FIRST if name in found), *(name for name in found if name not in _FIRST)]
        return {name: found[name] for name in names if found[name].network == "dense"}

    def __getitem__(self, name: str) -> Recipe:
        return self._recipes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._recipes)

    def __len__(self) -> int:
        return len(self._recipes)


RECIPES: Mapping[str, Recipe] = RecipeFolder(FOLDER)
"""In the order in which `python -m training list` shows them."""
