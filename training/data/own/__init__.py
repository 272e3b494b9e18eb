"""A person's own data: found, read, preprocessed and divided into parts."""
