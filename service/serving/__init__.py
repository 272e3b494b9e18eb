"""The use case: which network answers, when, and where it runs."""
