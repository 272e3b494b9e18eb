"""One HTTP/1.1 connection: protocol, request pipeline, input, output, timeouts, closing.

Theory of operation. Received bytes are parsed unmodified and in slices (`input`). A request whose head is
complete joins the request pipeline (`request_pipeline`). The first request of the pipeline is dispatched to a
`Call`: predictions are answered without a task and without ASGI messages, all other requests by the ASGI
application. While a request whose body is complete waits for its response, nothing more is parsed, so at most
one slice of pipelined requests is parsed ahead. Invalid input joins the pipeline as a `Refused`; the
connection closes after its response.
"""
