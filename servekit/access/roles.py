"""Which role a method asks for: the contract says so in an option of the method."""

from functools import cache

from google.protobuf import descriptor_pool

from atelier.common.v1 import access_pb2
from servekit.access.domain import Role

_ROLES = {
    access_pb2.ROLE_UNSPECIFIED: Role.USER,
    access_pb2.ROLE_USER: Role.USER,
    access_pb2.ROLE_CLONER: Role.CLONER,
    access_pb2.ROLE_OPERATOR: Role.OPERATOR,
}


@cache
def required_role(method: str) -> Role:
    """Return the role that `method` (`/package.Service/Method`) asks for; a user's where the contract is silent."""
    name = method.removeprefix("/").replace("/", ".")
    try:
        options = descriptor_pool.Default().FindMethodByName(name).GetOptions()
    except KeyError:  # not made from a proto
        return Role.USER
    return _ROLES[options.Extensions[access_pb2.role]]
