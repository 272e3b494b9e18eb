"""Training recipes: every hyperparameter of a run, and the named recipes."""
