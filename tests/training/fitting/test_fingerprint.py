import ast

from tests.conftest import REPOSITORY
from training.fitting.fingerprint import CODE


def test_checkpoints_depend_on_every_file_that_decides_a_fit() -> None:
    """
    The list has all trainer modules that the loop and the batch sources of strokes import, except those whose
    effect the key contains otherwise: data and recipes by their digests; checkpoints and errors change no
    bit.
    """
    found: set[str] = set()
    waiting = {"fitting.loop", "batches.ink", "batches.strokes"}
    while waiting:
        found.add(name := waiting.pop())
        waiting |= _imported(name) - found

    by_digest = {
        "recipes.recipe",
        "recipes.lesson",
        "data.examples",
        "data.mnist",
        "data.pen_digits",
        "data.download",
    }
    without_effect = {"fitting.checkpoint", "errors"}
    deciding = found - by_digest - without_effect
    assert {name.replace(".", "/") + ".py" for name in deciding} == set(CODE)


def _imported(name: str) -> set[str]:
    """Return the trainer's modules that one of its modules imports."""
    path = REPOSITORY / "training" / f"{name.replace('.', '/')}.py"
    imports = [
        node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)
    ]
    wholes = {node.module or "" for node in imports}
    parts = {f"{node.module}.{alias.name}" for node in imports for alias in node.names}
    names = {module.removeprefix("training.") for module in wholes | parts if module.startswith("training.")}
    return {each for each in names if (REPOSITORY / "training" / f"{each.replace('.', '/')}.py").is_file()}
