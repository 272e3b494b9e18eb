"""Recipe files: what they may hold, and what is refused."""

from pathlib import Path

import pytest

from training.errors import RecipeInvalid
from training.recipes.registry import FOLDER, RECIPES, RecipeFolder
from training.recipes.toml_file import read

SMALL = """
hidden = [16, 8]
initialisation = "he-normal"
batch_size = 32
epochs = 3
learning_rate = 1
"""


def _read(folder: Path, text: str) -> object:
    path = folder / "mine.toml"
    path.write_text(text, "utf-8")
    return read(path)


def test_a_file_needs_few_fields(tmp_path: Path) -> None:
    """
    The others have defaults; an integer is a number too.
    """
    path = tmp_path / "mine.toml"
    path.write_text(SMALL)

    recipe = read(path)

    assert (recipe.name, recipe.hidden, recipe.learning_rate, recipe.seed) == ("mine", (16, 8), 1.0, 1)
    assert isinstance(recipe.learning_rate, float)


def test_a_copy_of_a_recipe_of_ours_is_the_same_recipe(tmp_path: Path) -> None:
    """
    But for its name.
    """
    (tmp_path / "mine.toml").write_text((FOLDER / "mlp-512x4.toml").read_text("utf-8"))

    assert read(tmp_path / "mine.toml").to_dict() | {"name": "mlp-512x4"} == RECIPES["mlp-512x4"].to_dict()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("hidden = [", "should be TOML"),
        (SMALL + "droput = 0.1", "of known fields such as dropout; got droput"),
        (SMALL + 'name = "x"', "of known fields"),
        ("hidden = [16]", "with initialisation, batch_size, epochs, learning_rate; got nothing"),
        (SMALL + "dropout = true", "of dropout as a number; got True"),
        (SMALL + "seed = 1.5", "of seed as an integer; got 1.5"),
        (SMALL + "batch_norm = 1", "of batch_norm as true or false; got 1"),
        (SMALL + "drop_epochs = [1.5]", "of drop_epochs as a list of integers"),
        (SMALL + "dropout = 1.0", "dropout should be from 0 to below 1"),
        (SMALL + 'optimizer = "adam"', "optimizer should be sgd or adamw"),
        (SMALL + 'teacher = "nobody"', "nobody.toml should be a file that can be read"),
        (SMALL + "teacher = 3", "of a teacher by name"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    """
    With the file's name and the field.
    """
    with pytest.raises(RecipeInvalid, match=complaint):
        _read(tmp_path, text)


def test_a_folder_lists_its_dense_recipes(tmp_path: Path) -> None:
    """
    The known ones first, then in alphabetical order; teachers are not published and so not listed.
    """
    for name in ("zebra", "apple", "softmax"):
        (tmp_path / f"{name}.toml").write_text(SMALL)
    (tmp_path / "teacher.toml").write_text(SMALL + 'network = "convolutional"')

    assert list(RecipeFolder(tmp_path)) == ["softmax", "apple", "zebra"]
