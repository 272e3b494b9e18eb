"""Client of the service: `Client`, and `AsyncClient` for asyncio and trio."""
