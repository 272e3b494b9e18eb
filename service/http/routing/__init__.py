"""Operations, their routes and OpenAPI description, and the ASGI middleware."""
