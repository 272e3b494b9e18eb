"""The root path: prefix of the URL paths behind a reverse proxy, such as `/inkling`."""


def strip_root_path(path: str, root: str) -> str:
    """Return a request's path without the root path.

    Some proxies remove the prefix, so a path without it is returned unchanged. So is the root path without a
    trailing slash: the page redirects it to the path with a slash, against which a browser resolves the
    page's relative links.

    Args:
        path: The path, percent-decoded.
        root: The setting `root_path`: empty, or segments that each begin with a slash.
    """
    if root and path.startswith(root) and path[len(root) : len(root) + 1] == "/":
        return path[len(root) :]
    return path
