"""What is published: verified folder by folder, and as a table for people."""

from pathlib import Path
from typing import Any

from service.core import artifact
from service.core.engine import Engine
from service.core.manifest import Manifest, Measurement


def verify(root: Path) -> list[Manifest]:
    """Verify every published folder as the service does before it serves it.

    Args:
        root: The models folder.

    Returns:
        The manifests, by name and then oldest version first.

    Raises:
        ArtifactError: A folder would be refused.
        OSError: The models folder cannot be read.
    """
    manifests = []
    for name, versions in artifact.versions(root).items():
        for version in versions:
            published = artifact.read(root, name, version)
            Engine.load(published)
            manifests.append(published.manifest)
    return manifests


def page(root: Path) -> str:
    """Verify every published folder and return `models/README.md`.

    Args:
        root: The models folder.

    Raises:
        ArtifactError: A folder would be refused.
        OSError: The models folder cannot be read.
    """
    lines = [
        "# Published networks",
        "",
        "Generated from the manifests by `make models`, which first verifies every folder as the service",
        "does: digests, graph, golden examples. A published folder never changes; a better network is the",
        "next number. `SHA256SUMS` lists what never changes in it: `sha256sum --check SHA256SUMS` verifies a",
        "copy, and the service refuses a version that differs from the list.",
        "",
        "Where `valid` is empty, the network learned from everything that is not the test part.",
        "",
        "| network | layers | parameters | learned from | train | valid | test |",
        "|---|---|---|---|---|---|---|",
    ]
    manifests = verify(root)
    for manifest in manifests:
        widths = [manifest.layers[0].inputs, *(layer.units for layer in manifest.layers)]
        learned = manifest.data[0]
        lines.append(
            f"| `{manifest.name}` {manifest.version} | {'-'.join(map(str, widths))} "
            f"| {manifest.parameters:,} | {learned.name}, {learned.examples:,} "
            f"| {_figures(manifest, 'published')} |"
        )
    lines += [
        "",
        "The same recipes fitted on the lesson's split, for its figures only: mean and sample standard",
        "deviation over the seeds. MNIST's is 30,000 / 15,000 / 15,000 images drawn from all 70,000; fits on",
        "it see official test images and are never published. 17 Flowers has no other split: the published",
        "network is one of these fits.",
        "",
        "| network | seeds | train | valid | test |",
        "|---|---|---|---|---|",
    ]
    for manifest in manifests:
        lesson = [metric for metric in manifest.metrics if metric.fit == "lesson"]
        if lesson:
            lines.append(
                f"| `{manifest.name}` {manifest.version} | {len(lesson[0].seeds)} "
                f"| {_figures(manifest, 'lesson')} |"
            )
    for manifest in manifests:
        if any(metric.fit == "held-out" for metric in manifest.metrics):
            lines += _strangers(manifest)
        lines += _losses(manifest)
    return "\n".join(lines) + "\n"


def _strangers(manifest: Manifest) -> list[str]:
    """Say how a network's recipe does on people whom its fits have not met, and what is sure."""
    lines = [
        "",
        f"`{manifest.name}` {manifest.version} on people whom a fit has not met: the same recipe, fitted",
        "without some donors and measured on these; with the calibration error at the published temperature,",
        f"{manifest.temperature:g}.",
        "",
        "| measured on | what | examples | accuracy | calibration error |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {metric.data} | {metric.split} | {metric.examples:,} | {metric.accuracy:.2%} "
        f"| {metric.calibration_error:.2%} |"
        for metric in manifest.metrics
        if metric.fit == "held-out" and metric.split not in ("train", "valid")
        if metric.calibration_error is not None
    ]
    if manifest.certainty:
        lines += ["", "Answers that are `sure`:", "", "| images | how many | sure |", "|---|---|---|"]
        lines += [
            f"| {share.images} | {share.examples:,} | {share.share:.2%} |"
            for share in (*manifest.certainty.kept, *manifest.certainty.passed)
        ]
    return lines


def _losses(manifest: Manifest) -> list[str]:
    """Say what a network lost when it was put into whole numbers; nothing of one in floats."""
    quantised: Any = manifest.recipe.get("quantised")
    if not quantised:
        return []
    of = quantised["from"].replace("/", " ", 1)
    lines = [
        "",
        f"`{manifest.name}` {manifest.version} is `{of}` in whole numbers: which answers are right and which",
        "are sure, before and after. About people whom it has met, fits without these donors answer,",
        "put into whole numbers in the same way.",
        "",
        "| images | how many | right before | right after | answered otherwise | sure before | sure after |",
        "|---|---|---|---|---|---|---|",
    ]
    for loss in quantised["losses"]:
        shares = (loss.get(each) for each in ("before", "after", "otherwise", "sure_before", "sure_after"))
        cells = " | ".join("" if share is None else f"{share:.2%}" for share in shares)
        lines.append(f"| {loss['images']} | {loss['examples']:,} | {cells} |")
    return lines


def _figures(manifest: Manifest, fit: str) -> str:
    return " | ".join(_figure(manifest, fit, split) for split in ("train", "valid", "test"))


def _figure(manifest: Manifest, fit: str, split: str) -> str:
    found: list[Measurement] = [
        metric for metric in manifest.metrics if (metric.fit, metric.split) == (fit, split)
    ]
    if not found:
        return ""
    spread = found[0].spread
    return f"{found[0].accuracy:.2%}" + (f" ± {spread:.2%}" if spread is not None else "")
