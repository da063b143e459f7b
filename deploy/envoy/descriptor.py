"""The contract as Envoy's transcoder wants it: every file in one set, with the HTTP paths of `http.yaml` as options.

The paths are kept out of the `.proto` files, which would have to import Google's annotations for the sake of one edge.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.json_format import ParseDict

_FILES = (
    "atelier.common.v1.errors_pb2",
    "atelier.imagegen.v1.image_service_pb2",
    "atelier.router.v1.router_service_pb2",
    "atelier.voice.v1.voice_service_pb2",
    "google.rpc.error_details_pb2",  # the details of errors, which would be unreadable without
    "google.rpc.status_pb2",
)


class UnknownMethods(ValueError):
    """Paths are given for methods that the contract does not have."""


def descriptor_set(paths: Mapping[str, Mapping[str, str]]) -> FileDescriptorSet:
    """Return the set with `paths`: full method name -> a `google.api.HttpRule` as JSON. Raises `UnknownMethods`."""
    found: dict[str, FileDescriptor] = {}
    for name in _FILES:
        _collect(import_module(name).DESCRIPTOR, found)
    made = FileDescriptorSet()
    for file in found.values():
        file.CopyToProto(made.file.add())
    unknown = set(paths) - set(_add(paths, made))
    if unknown:
        raise UnknownMethods(f"the contract has no {', '.join(sorted(unknown))}")
    return made


def _collect(file: FileDescriptor, found: dict[str, FileDescriptor]) -> None:
    """Put a file into `found`, after those that it imports."""
    if file.name in found:
        return
    for each in file.dependencies:
        _collect(each, found)
    found[file.name] = file


def _add(paths: Mapping[str, Mapping[str, str]], files: FileDescriptorSet) -> Iterator[str]:
    for file in files.file:
        for service in file.service:
            for method in service.method:
                name = f"{file.package}.{service.name}.{method.name}"
                if name in paths:
                    rule = ParseDict(dict(paths[name]), http_pb2.HttpRule())
                    method.options.Extensions[annotations_pb2.http].CopyFrom(rule)
                    yield name
