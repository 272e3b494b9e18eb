"""Stages of a connection.

IDLE -> HEAD -> BODY -> ANSWERING -> IDLE     a request and its response
ANSWERING -> BODY -> IDLE                     the response was sent before the whole body had arrived
ANSWERING -> DRAINING -> CLOSED               the last response; input is dropped for a while
"""

from enum import Enum


class Stage(Enum):
    """What a connection is doing."""

    IDLE = "waiting for a request"
    HEAD = "receiving a request head"
    BODY = "receiving a request body"
    ANSWERING = "waiting for a response"
    DRAINING = "dropping input after the last response"
    CLOSED = "closed"
