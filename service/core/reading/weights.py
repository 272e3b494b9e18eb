"""Learned weights of the scores, and usual sizes of the digits, as `python -m training numbers` prints them.

The weights are those of an averaged structured perceptron on numbers composed from the digits of one writer
each: M. Collins, "Discriminative training methods for hidden Markov models", EMNLP 2002. The sizes are of the
same digits.
"""

from service.core.reading.lattice import Sizes, Weights

STROKES = Weights(
    likelihood=1.475,
    wide_likelihood=0.846,
    doubt=0.708,
    cut=0.0,
    is_cut=0.0,
    gap=-4.026,
    overlap=-3.285,
    joins=-0.401,
    small=3.068,
    digit=-0.099,
    width=-0.174,
    ink=0.737,
    height=-0.015,
)

PICTURE = Weights(
    likelihood=1.214,
    wide_likelihood=0.671,
    doubt=0.455,
    cut=-3.83,
    is_cut=-0.966,
    gap=-3.014,
    overlap=0.0,
    joins=-0.091,
    small=0.112,
    digit=0.775,
    width=0.188,
    ink=0.308,
    height=0.121,
)

PICTURE_SIZES = {
    "0": Sizes((-0.18, 0.24), (0.98, 0.16), (-0.02, 0.06)),
    "1": Sizes((-0.86, 0.5), (0.35, 0.32), (-0.05, 0.16)),
    "2": Sizes((-0.25, 0.24), (0.77, 0.18), (-0.03, 0.07)),
    "3": Sizes((-0.46, 0.21), (0.69, 0.16), (-0.04, 0.07)),
    "4": Sizes((-0.57, 0.28), (0.55, 0.22), (-0.03, 0.09)),
    "5": Sizes((-0.23, 0.25), (0.78, 0.18), (-0.02, 0.07)),
    "6": Sizes((-0.56, 0.21), (0.64, 0.27), (-0.04, 0.15)),
    "7": Sizes((-0.4, 0.22), (0.63, 0.17), (-0.03, 0.09)),
    "8": Sizes((-0.56, 0.2), (0.87, 0.14), (-0.02, 0.07)),
    "9": Sizes((-0.46, 0.22), (0.77, 0.21), (-0.03, 0.08)),
}
"""Of a digit by its label, in a picture, where the width of the pen counts."""

STROKE_SIZES = {
    "0": Sizes((-0.18, 0.26), (1.13, 0.16), (0.0, 0.07)),
    "1": Sizes((-0.98, 0.63), (0.59, 0.25), (-0.01, 0.07)),
    "2": Sizes((-0.24, 0.26), (0.9, 0.17), (-0.01, 0.07)),
    "3": Sizes((-0.48, 0.22), (0.78, 0.15), (0.0, 0.07)),
    "4": Sizes((-0.65, 0.35), (0.7, 0.22), (0.01, 0.07)),
    "5": Sizes((-0.25, 0.25), (0.9, 0.17), (0.0, 0.07)),
    "6": Sizes((-0.61, 0.22), (0.79, 0.13), (0.0, 0.07)),
    "7": Sizes((-0.43, 0.25), (0.74, 0.15), (0.0, 0.07)),
    "8": Sizes((-0.63, 0.26), (1.05, 0.15), (0.0, 0.07)),
    "9": Sizes((-0.52, 0.25), (0.96, 0.21), (0.0, 0.07)),
}
"""The same of strokes."""
