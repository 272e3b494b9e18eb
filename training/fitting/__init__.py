"""Fitting: training loop, loss, optimizer, checkpoints, and the execution of fit jobs."""
