import re
from pathlib import Path

import torch

from training.publishing import provenance


def test_the_commit_is_one_or_unknown() -> None:
    """
    Forty hex digits, with a suffix if the code has changed; `unknown` outside a repository.
    """
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", provenance.commit())


def test_the_library_versions_are_recorded() -> None:
    """
    A run can be repeated with the same versions.
    """
    libraries = provenance.libraries()

    assert libraries["torch"] == torch.__version__
    assert {"python", "numpy", "onnx", "onnxruntime", "onnxscript", "pillow"} < set(libraries)


def test_the_processor_is_the_systems_model_name(tmp_path: Path) -> None:
    """
    The first processor's; without the file some name remains.
    """
    description = tmp_path / "cpuinfo"
    description.write_text("processor : 0\nmodel name : Abacus 3000\nmodel name : Abacus 3000\n")

    assert provenance.processor(description) == "Abacus 3000"
    assert provenance.processor(tmp_path / "none")
