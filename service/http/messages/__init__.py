"""Request bodies, and responses: JSON, problems, compression, ETags, the response cache."""
