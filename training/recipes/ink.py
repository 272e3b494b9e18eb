"""Recipe of the network for freehand drawings, `ink`; see docs/explanation/experiments.md."""

from training.recipes.lesson import LESSON_SPLIT_SEED
from training.recipes.recipe import Recipe

INK_RECIPES = (
    Recipe(
        name="ink",
        description="Reads what people draw: trained on MNIST, on pen strokes drawn anew each time, on rare "
        "styles of writing, on canvases, and on letters and other drawings of no digit.",
        hidden=(1024, 1024, 512),
        initialisation="he-normal",
        batch_size=512,
        epochs=40,
        held_out_epochs=14,
        learning_rate=0.002,
        drop_epochs=(),
        drop_factor=1.0,
        seed=1,
        lesson_seeds=(),
        lesson_split_seed=LESSON_SPLIT_SEED,
        data="ink-hands",
        batch_norm=True,
        dropout=0.12,
        optimizer="adamw",
        weight_decay=0.02,
        schedule="one-cycle",
        warm_up=0.15,
        average=0.999,
        precision="bfloat16",
        label_smoothing=0.03,
        strength=1.0,
        drawn=32_000,
        styled=7_000,
        canvases=20_000,
        nondigits=7_000,
        letters=7_000,
        joined=2_000,
        turned=2_000,
    ),
)
