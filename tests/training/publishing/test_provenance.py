import re
from pathlib import Path

import torch

from training.publishing import provenance as origin


def test_the_commit_is_one_or_unknown() -> None:
    """
    Forty hex digits, marked where the code has changed; `unknown` where there is no repository.
    """
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", origin.commit())


def test_the_libraries_that_make_numbers_are_named() -> None:
    """
    Whoever wants to repeat a run finds the versions it was made with.
    """
    libraries = origin.libraries()

    assert libraries["torch"] == torch.__version__
    assert {"python", "numpy", "onnx", "onnxruntime", "onnxscript", "pillow"} < set(libraries)


def test_the_processor_is_named_as_the_system_names_it(tmp_path: Path) -> None:
    """
    The first processor's model name stands for all; without the file there is some name still.
    """
    description = tmp_path / "cpuinfo"
    description.write_text("processor : 0\nmodel name : Abacus 3000\nmodel name : Abacus 3000\n")

    assert origin.processor(description) == "Abacus 3000"
    assert origin.processor(tmp_path / "none")
