"""GGUF version 3: reading metadata and writing a whole file."""

import struct

import numpy as np

from .gguf_blocks import GGUF_ENCODERS

ALIGNMENT = 32
# Value types of metadata: id and struct format.
SCALARS = {"u8": (0, "<B"), "i8": (1, "<b"), "u16": (2, "<H"), "i16": (3, "<h"), "u32": (4, "<I"), "i32": (5, "<i"),
           "f32": (6, "<f"), "bool": (7, "<?"), "u64": (10, "<Q"), "i64": (11, "<q"), "f64": (12, "<d")}
STRING, ARRAY = 8, 9
SCALAR_NAMES = {number: name for name, (number, _) in SCALARS.items()}


def read_metadata(path):
    """[(key, value type, value)] with types as `write` takes them."""
    with open(path, "rb") as file:
        data = file.read(1 << 26)  # vocabularies are far smaller
    magic, version, _, count = struct.unpack_from("<4sIQQ", data)
    if magic != b"GGUF" or version not in (2, 3):
        raise SystemExit(f"error: {path} is no little-endian GGUF file of version 2 or 3")
    at = 24

    def scalar(name):
        nonlocal at
        layout = SCALARS[name][1]
        value, = struct.unpack_from(layout, data, at)
        at += struct.calcsize(layout)
        return value

    def text():
        nonlocal at
        length = scalar("u64")
        at += length
        return data[at - length:at].decode("utf-8")

    def typed(number):
        if number == STRING:
            return "string", text()
        if number != ARRAY:
            return SCALAR_NAMES[number], scalar(SCALAR_NAMES[number])
        element, length = scalar("u32"), scalar("u64")
        values = [typed(element)[1] for _ in range(length)]
        return ("string" if element == STRING else SCALAR_NAMES[element]) + "[]", values

    result = []
    for _ in range(count):
        key = text()
        result.append((key, *typed(scalar("u32"))))
    return result


def pack_string(text):
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def pack_value(type_name, value):
    if type_name == "string":
        return struct.pack("<I", STRING) + pack_string(value)
    if not type_name.endswith("[]"):
        number, layout = SCALARS[type_name]
        return struct.pack("<I", number) + struct.pack(layout, value)
    element = type_name[:-2]
    if element == "string":
        return struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(pack_string, value))
    number, layout = SCALARS[element]
    return struct.pack("<IIQ", ARRAY, number, len(value)) + np.asarray(value, dtype="<" + layout[1:]).tobytes()


def encoder_of(tensor, encoding):
    """Norms and biases stay in float32, as llama.cpp keeps them."""
    return GGUF_ENCODERS["f32" if len(tensor.shape) == 1 else encoding]


def tensor_table(tensors, encoding):
    """The packed table of tensors and the size of each."""
    packed, sizes, offset = [], [], 0
    for tensor in tensors:
        encoder = encoder_of(tensor, encoding)
        if tensor.shape[-1] % encoder.block:
            raise SystemExit(f"error: {tensor.gguf_name} has rows of {tensor.shape[-1]}, no multiple of the "
                             f"{encoder.block} numbers in a block of {encoding}")
        dims = tensor.shape[::-1]
        numbers = struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, encoder.type_id, offset)
        packed.append(pack_string(tensor.gguf_name) + numbers)
        size = int(np.prod(tensor.shape)) // encoder.block * encoder.block_bytes
        sizes.append(size)
        offset += size + -size % ALIGNMENT
    return b"".join(packed), sizes


def write(path, architecture, weights, vocabulary, encoding, progress):
    tensors = list(architecture.tensors())
    table, sizes = tensor_table(tensors, encoding)
    metadata = [
        ("general.architecture", "string", architecture.name),
        ("general.type", "string", "model"),
        ("general.name", "string", f"random {architecture.name} {encoding}"),
        ("general.file_type", "u32", GGUF_ENCODERS[encoding].file_type),
        ("general.quantization_version", "u32", 2),
        ("general.alignment", "u32", ALIGNMENT),
        *architecture.gguf_metadata(),
        *vocabulary.gguf_metadata(architecture.vocab),
    ]
    with open(path, "wb") as file:
        file.write(struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata)))
        for key, type_name, value in metadata:
            file.write(pack_string(key) + pack_value(type_name, value))
        file.write(table)
        for tensor, size in zip(progress(tensors), sizes):
            file.write(bytes(-file.tell() % ALIGNMENT))
            start = file.tell()
            if len(tensor.shape) == 1:
                file.write(weights.vector(tensor, permute=True).astype("<f4"))
            else:
                for part in weights.blocks(tensor, encoder_of(tensor, encoding), permute=True):
                    file.write(part)
            assert file.tell() - start == size, tensor.gguf_name
        file.write(bytes(-file.tell() % ALIGNMENT))
