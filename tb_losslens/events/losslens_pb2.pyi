from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RAW: _ClassVar[Encoding]
    ZLIB_SHUFFLE: _ClassVar[Encoding]
    CONSTANT: _ClassVar[Encoding]
    LINEAR: _ClassVar[Encoding]
RAW: Encoding
ZLIB_SHUFFLE: Encoding
CONSTANT: Encoding
LINEAR: Encoding

class Column(_message.Message):
    __slots__ = ("name", "dtype", "shape", "encoding", "data")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    encoding: Encoding
    data: bytes
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., data: _Optional[bytes] = ...) -> None: ...

class Record(_message.Message):
    __slots__ = ("kind", "batch", "step", "time", "text", "fields")
    KIND_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    batch: int
    step: int
    time: float
    text: str
    fields: str
    def __init__(self, kind: _Optional[str] = ..., batch: _Optional[int] = ..., step: _Optional[int] = ..., time: _Optional[float] = ..., text: _Optional[str] = ..., fields: _Optional[str] = ...) -> None: ...

class Body(_message.Message):
    __slots__ = ("columns", "records")
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    records: _containers.RepeatedCompositeFieldContainer[Record]
    def __init__(self, columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., records: _Optional[_Iterable[_Union[Record, _Mapping]]] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("format", "session", "first_batch", "count", "body", "body_crc32c")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    FIRST_BATCH_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    BODY_CRC32C_FIELD_NUMBER: _ClassVar[int]
    format: int
    session: str
    first_batch: int
    count: int
    body: bytes
    body_crc32c: int
    def __init__(self, format: _Optional[int] = ..., session: _Optional[str] = ..., first_batch: _Optional[int] = ..., count: _Optional[int] = ..., body: _Optional[bytes] = ..., body_crc32c: _Optional[int] = ...) -> None: ...
