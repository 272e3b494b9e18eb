import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import toys
from training.data.examples import Examples, Split
from training.errors import OutputInModels
from training.report.charts import samples


def test_a_sample_of_colour_images_keeps_their_colours(official: Split) -> None:
    """
    Red images are shown in red.
    """
    red = np.zeros((3, 8, 8, 3), np.uint8)
    red[..., 0] = 255
    split = replace(official, test=Examples(red, np.array([1, 1, 0])))

    image = Image.open(io.BytesIO(samples.sample(split, "test", "one"))).convert("RGB")

    assert ((np.asarray(image) == (255, 0, 0)).all(axis=-1)).sum() > 1000


def test_a_class_without_images_is_drawn_empty(official: Split) -> None:
    """
    A part may lack a class.
    """
    split = replace(official, test=Examples(np.zeros((1, 6, 5), np.uint8), np.zeros(1, np.int64)))

    assert samples.sample(split, "test", "two").startswith(b"\x89PNG")


def test_extremes_are_drawn_for_every_part(tmp_path: Path, official: Split) -> None:
    """
    Two files per part, also if the report lists no images of it.
    """
    report = toys.report_of(toys.publish(tmp_path))
    extremes = tuple(entry.model_copy(update={"data": official.data_set}) for entry in report.extremes)

    files = samples.draw_extremes(
        report.model_copy(update={"extremes": extremes}), official, tmp_path / "out"
    )

    assert sorted(path.name for path in files) == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(files) == 4


def test_pictures_of_the_data_are_refused_in_the_models_folder(tmp_path: Path) -> None:
    """
    By any spelling of the path.
    """
    models = tmp_path / "models"
    models.mkdir()
    (tmp_path / "link").symlink_to(models)

    samples.check_output(tmp_path / "elsewhere", models)
    for place in (models, models / "ink" / "1", tmp_path / "x" / ".." / "models" / "y", tmp_path / "link"):
        with pytest.raises(OutputInModels, match="outside"):
            samples.check_output(place, models)
