"""Numbers of several digits: candidates cut out of a drawing, and the most likely sequence of them."""
