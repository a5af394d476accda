"""Bytes of an upload, as schemathesis is to send them."""
import schemathesis


@schemathesis.serializer("application/offset+octet-stream")
def offset(_, value):
    return value if isinstance(value, bytes) else str(value).encode()
