"""Preprocessing ablation: accuracy of the published networks after each preprocessing step."""
