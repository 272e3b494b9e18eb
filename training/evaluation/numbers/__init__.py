"""Reading of numbers of several digits: samples, learned weights, figures."""
