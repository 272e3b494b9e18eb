"""Verification of all published folders, and their table `models/README.md`."""

from pathlib import Path
from typing import Any

from service.core.artifact import artifact
from service.core.artifact.manifest import Manifest, Measurement
from service.core.network.engine import Engine
from training.recipes.own import DATA as OWN_DATA


def verify(root: Path) -> list[Manifest]:
    """Verify every published folder as the service does when it loads a model.

    Args:
        root: Models folder.

    Returns:
        The manifests, by name and then oldest version first.

    Raises:
        ArtifactError: The service would refuse a folder.
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
        root: Models folder.

    Raises:
        ArtifactError: The service would refuse a folder.
        OSError: The models folder cannot be read.
    """
    lines = [
        "# Published networks",
        "",
        "Generated from the manifests by `make models`, which verifies every folder as the service does:",
        "digests, graph, golden examples. A published folder never changes; a better network is the next",
        "version. `SHA256SUMS` lists the immutable files: `sha256sum --check SHA256SUMS` verifies a copy.",
        "The service refuses a version that differs from it.",
        "",
        "Where `valid` is empty, the network was fitted on all data except the test part. Networks that were",
        "trained elsewhere and imported have no training data here, and those of unknown layers no layers.",
        "",
        "| network | layers | parameters | training data | train | valid | test |",
        "|---|---|---|---|---|---|---|",
    ]
    manifests = verify(root)
    for manifest in manifests:
        widths = [layer.inputs for layer in manifest.layers[:1]] + [layer.units for layer in manifest.layers]
        learned = ", ".join(f"{part.name}, {part.examples:,}" for part in manifest.data[:1])
        lines.append(
            f"| `{manifest.name}` {manifest.version} | {'-'.join(map(str, widths))} "
            f"| {manifest.parameters:,} | {learned} "
            f"| {_figures(manifest, 'published')} |"
        )
    lines += [
        "",
        "The same recipes fitted on the lesson's split, for comparison with its figures: mean and sample",
        "standard deviation over the seeds. MNIST's lesson split has 30,000 / 15,000 / 15,000 images",
        "drawn from all 70,000; fits on it use official test images and are never published. 17 Flowers has",
        "no other split: the published network is one of these fits.",
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
            lines += _held_out(manifest)
        if manifest.recipe.get("data") == OWN_DATA:
            lines += _own_data(manifest)
        lines += _quantisation(manifest)
    return "\n".join(lines) + "\n"


def _held_out(manifest: Manifest) -> list[str]:
    """Return the figures on held-out writers, and the shares of sure predictions."""
    lines = [
        "",
        f"`{manifest.name}` {manifest.version} on held-out writers: the same recipe, fitted without some",
        "donors and evaluated on them. The calibration error is at the published temperature,",
        f"{manifest.temperature:g}.",
        "",
        "| data | part | examples | accuracy | calibration error |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {metric.data} | {metric.split} | {metric.examples:,} | {metric.accuracy:.2%} "
        f"| {metric.calibration_error:.2%} |"
        for metric in manifest.metrics
        if metric.fit == "held-out" and metric.split not in ("train", "valid")
        if metric.calibration_error is not None
    ]
    return lines + _sure(manifest)


def _own_data(manifest: Manifest) -> list[str]:
    """Return the figures of a network that was fitted by `fit --data`, for every part of its data."""
    lines = [
        "",
        f"`{manifest.name}` {manifest.version} on each part of {manifest.data[0].name}; it was fitted on the",
        f"train part. The calibration error is at the published temperature, {manifest.temperature:g}.",
        "",
        "| part | examples | accuracy | calibration error |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {metric.split} | {metric.examples:,} | {metric.accuracy:.2%} | {metric.calibration_error:.2%} |"
        for metric in manifest.metrics
        if metric.calibration_error is not None
    ]
    return lines + _sure(manifest)


def _sure(manifest: Manifest) -> list[str]:
    """Return the shares of sure predictions; nothing for a network without a threshold."""
    lines = []
    if manifest.certainty:
        lines += [
            "",
            "Share of predictions that are `sure`:",
            "",
            "| images | count | sure |",
            "|---|---|---|",
        ]
        lines += [
            f"| {share.images} | {share.examples:,} | {share.share:.2%} |"
            for share in (*manifest.certainty.kept, *manifest.certainty.passed)
        ]
    return lines


def _quantisation(manifest: Manifest) -> list[str]:
    """Return the effect of quantisation; nothing for a float32 network."""
    quantised: Any = manifest.recipe.get("quantised")
    if not quantised:
        return []
    source = quantised["from"].replace("/", " ", 1)
    lines = [
        "",
        f"`{manifest.name}` {manifest.version} is `{source}` quantised to int8. Accuracy and share of sure",
        "predictions before and after; on donors of the training data, those of fits that excluded these",
        "donors, quantised in the same way.",
        "",
        "| images | count | accuracy before | accuracy after | changed | sure before | sure after |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in quantised["losses"]:
        names = ("before", "after", "otherwise", "sure_before", "sure_after")
        shares = (each.get(name) for name in names)
        cells = " | ".join("" if share is None else f"{share:.2%}" for share in shares)
        lines.append(f"| {each['images']} | {each['examples']:,} | {cells} |")
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
