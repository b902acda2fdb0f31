"""What servers say instead of what they were asked for."""

from support.uws_server import Behaviour

__all__ = ["FAULT", "GATEWAY", "HEAD", "LOGIN", "twice"]

HEAD = 'xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0"'
LOGIN = '<body><form><input name="p" type="password"/></form></body>'
GATEWAY = "<html><title>Bad Gateway</title></html>"
FAULT = (
    '<VOTABLE><RESOURCE type="results"><INFO name="QUERY_STATUS" value="ERROR">{}</INFO></RESOURCE></VOTABLE>'
)


def twice(behaviour: Behaviour) -> tuple[Behaviour, Behaviour]:
    """For reads, which are tried again once when a connection breaks."""
    return behaviour, behaviour
