"""The root path: the prefix under which a reverse proxy shows the service, such as `/inkling`."""


def strip_root_path(path: str, root: str) -> str:
    """Return a request's path without the root path.

    Proxies differ in whether they remove the prefix, so both forms are accepted: a path without it is
    returned as it is. So is the root path itself, without a slash after it: the page redirects from there to
    the path with the slash, as a browser resolves the page's relative links against its address.

    Args:
        path: Percent-decoded.
        root: The setting `root_path`: empty, or segments with a slash before each.
    """
    if root and path.startswith(root) and path[len(root) : len(root) + 1] == "/":
        return path[len(root) :]
    return path
