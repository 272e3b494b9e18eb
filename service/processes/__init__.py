"""Several processes on one address: who starts and replaces them, and what they tell each other."""
