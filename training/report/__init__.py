"""Reports on published networks: figures on their data, and charts."""
