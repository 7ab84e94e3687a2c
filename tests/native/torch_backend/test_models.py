"""Models from files: what they compute, and files that are damaged or hostile.

In one file however long: all hold the same few models, whole or damaged, against one backend.
"""

import io
import random
import struct
import warnings
import zipfile
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from .conftest import Runner, dense
from .driver import BackendError

pytestmark = pytest.mark.system


def blob_of(model: nn.Module, *example: Tensor) -> bytes:
    """The file of a model: traced if an example input is given, else scripted."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.9 and later call TorchScript deprecated
        compiled = torch.jit.trace(model.eval(), example, check_trace=False) if example else torch.jit.script(model)
        torch.jit.save(compiled, file)
    return file.getvalue()


def rewritten(blob: bytes, change: Callable[[str, bytes], bytes | None]) -> bytes:
    """The archive with members changed, or left out for None, and every checksum right."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(blob)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            content = change(name.partition("/")[2], old.read(name))
            if content is not None:
                new.writestr(name, content)
    return file.getvalue()


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(torch.relu_(self.norm(self.linear(x))))


@pytest.fixture(scope="module")
def small() -> bytes:
    torch.manual_seed(0)
    return blob_of(Small())


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.lstm = nn.LSTM(8, 6, batch_first=True)
        self.gru = nn.GRU(6, 5, batch_first=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden, _ = self.lstm(self.embedding(x))
        out, last = self.gru(hidden)
        return out, last


NETS = {
    "dense": (Small(), torch.randn(5, 4)),
    "convolutions": (
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 4, 3, stride=2),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 2),
            nn.LogSoftmax(1),
        ),
        torch.randn(2, 3, 12, 12),
    ),
    "recurrent": (Recurrent(), torch.randint(0, 20, (2, 7))),
    "attention": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.randn(2, 5, 8)),
    "upsampling": (nn.Sequential(nn.ConvTranspose2d(2, 2, 3), nn.Upsample(scale_factor=2.0)), torch.randn(1, 2, 4, 4)),
    "normalised": (nn.Sequential(nn.GroupNorm(2, 4), nn.InstanceNorm1d(4), nn.LayerNorm(6)), torch.randn(2, 4, 6)),
}


@pytest.mark.parametrize("traced", [False, True], ids=["scripted", "traced"])
@pytest.mark.parametrize("name", NETS)
def test_common_nets_compute_what_they_do_in_process(backend: Runner, name: str, traced: bool) -> None:
    model, x = NETS[name]
    program = backend.load(blob_of(model, *([x] if traced else [])))
    with torch.no_grad():
        expected = model.eval()(x)
    results = backend.execute(program, None, [x], positional=True)
    backend.call("release", program)
    for result, wanted in zip(results, expected if isinstance(expected, tuple) else [expected], strict=True):
        torch.testing.assert_close(result, wanted, rtol=1e-5, atol=1e-6)


def test_it_runs_as_in_evaluation_and_leaves_its_input(backend: Runner, small: bytes) -> None:
    program = backend.load(small)
    x = torch.randn(3, 4)
    first, second = (backend.execute(program, None, [x], positional=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert backend.inputs_after()[0] == dense(x).data


class Several(nn.Module):
    def forward(self, first: Tensor, rest: list[Tensor]) -> list[Tensor]:
        return [first + len(rest)] + rest  # noqa: RUF005 - TorchScript knows no unpacking here


class Defaulted(nn.Module):
    def forward(self, x: Tensor, factor: float = 2.5, y: Tensor | None = None) -> Tensor:
        return x * factor if y is None else x + y


def test_inputs_are_the_arguments_of_forward(backend: Runner) -> None:
    one = torch.ones(1)
    assert len(backend.execute(backend.load(blob_of(Several())), None, [one, one, one], positional=True)) == 3
    program = backend.load(blob_of(Defaulted()))
    assert backend.execute(program, None, [one], positional=True)[0].item() == 2.5
    with pytest.raises(BackendError, match=r"the argument .* has no input"):
        backend.execute(program, None, [], positional=True)


class Remembers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = torch.zeros(1)
        self.seen: list[Tensor] = [torch.zeros(1)]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        last = self.last
        self.last = x
        self.seen.append(x)
        return last, torch.stack(self.seen[1:]).sum(0)


def test_a_model_that_keeps_its_inputs_keeps_a_copy(backend: Runner) -> None:
    program = backend.load(blob_of(Remembers()))
    for number in range(1, 4):
        last, total = backend.execute(program, None, [torch.tensor([float(number)])], positional=True)
        assert last.item() == number - 1
        assert total.item() == number * (number + 1) / 2


class Saves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, "file")
        return x


class Forks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.jit.wait(torch.jit.fork(torch.relu, x))


class Endless(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        while bool(x.sum() < 1e30):
            x = x * 1.0
        return x


@pytest.mark.parametrize(("model", "operator"), [(Saves(), "aten::save"), (Forks(), "prim::fork")])
def test_an_operator_off_the_list_is_named(backend: Runner, model: nn.Module, operator: str) -> None:
    with pytest.raises(BackendError, match=f"{operator} is not allowed"):
        backend.load(blob_of(model))


def test_an_endless_loop_ends_at_the_limit(backend: Runner) -> None:
    program = backend.load(blob_of(Endless()))
    with pytest.raises(BackendError, match="longer than its limit of 50 ms"):
        backend.execute(program, None, [torch.ones(1)], positional=True, limit_ms=50)


@pytest.mark.parametrize("blob", [b"", b"junk", b"PK\x05\x06" + b"\0" * 18, b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_file_of_a_model_is_an_error(backend: Runner, blob: bytes) -> None:
    with pytest.raises(BackendError):
        backend.load(blob)


def test_a_truncated_file_is_an_error(backend: Runner, small: bytes) -> None:
    for length in range(0, len(small), 501):
        with pytest.raises(BackendError):
            backend.load(small[:length])


def contents(blob: bytes) -> list[tuple[int, int]]:
    """Where each member's bytes start and end."""
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        members = archive.infolist()
    spans = []
    for member in members:
        name, extra = struct.unpack_from("<HH", blob, member.header_offset + 26)
        start = member.header_offset + 30 + name + extra
        spans.append((start, start + member.compress_size))
    return spans


def test_any_flipped_bit_of_a_members_content_is_an_error(backend: Runner, small: bytes) -> None:
    chosen = random.Random(5)
    for start, end in contents(small):
        for _ in range(4):
            damaged = bytearray(small)
            damaged[chosen.randrange(start, end)] ^= 1 << chosen.randrange(8)
            # The files for debugging are never read.
            if backend_accepts(backend, bytes(damaged)):
                assert b"debug_pkl" in small[start - 80 : start]


def backend_accepts(backend: Runner, blob: bytes) -> bool:
    try:
        backend.call("release", backend.load(blob))
    except BackendError:
        return False
    return True


def test_any_flipped_bit_at_all_ends_no_process(backend: Runner, small: bytes) -> None:
    chosen = random.Random(6)
    for _ in range(200):
        damaged = bytearray(small)
        damaged[chosen.randrange(len(small))] ^= 1 << chosen.randrange(8)
        backend_accepts(backend, bytes(damaged))
    assert backend_accepts(backend, small)


OWN_CODE = f"code/__torch__/{__name__.replace('.', '/')}.py"


def replaced(name: str, old: bytes, new: bytes) -> Callable[[str, bytes], bytes]:
    def change(member: str, content: bytes) -> bytes:
        if member != name:
            return content
        assert old in content
        return content.replace(old, new, 1)

    return change


def values(pickle: bytes) -> Callable[[str, bytes], bytes]:
    return lambda member, content: pickle if member == "data.pkl" else content


HOSTILE = {
    "a tensor larger than its data": (
        lambda member, content: content[:8] if member == "data/0" else content,
        "larger than its data",
    ),
    "a stride beyond the data": (replaced("data.pkl", b"K\x04K\x01", b"K\xffK\x01"), "storage|larger"),
    "an offset beyond the data": (replaced("data.pkl", b"K\x00(K\x03K\x04", b"K\x7f(K\x03K\x04"), "storage|larger"),
    "a hole in the memo": (values(b"\x80\x02Nr\xff\xff\xff\x7f."), "skip places of their memo"),
    "a text of 4 GB": (values(b"\x80\x02X\xff\xff\xff\x7fa."), "end too early"),
    "a type nested deep": (
        values(b"\x80\x02X" + struct.pack("<I", 500000) + b"List[" * 100000 + b"."),
        "nested too deep",
    ),
    "tuples nested deep": (values(b"\x80\x02N" + b"\x85" * 300000 + b"."), "containers"),
    "an unknown operation": (values(b"\x80\x02cos\nsystem\nX\x01\0\0\0a\x85\x93."), "does not write"),
    "a function of Python": (values(b"\x80\x02cos\nsystem\nX\x01\0\0\0a\x85R."), "os|global"),
    "no values": (lambda member, content: None if member == "data.pkl" else content, "data.pkl"),
    "code nested deep": (
        replaced(OWN_CODE, b"torch.relu_(", b"(" * 5000 + b"torch.relu_("),
        "brackets within each other",
    ),
    "a default that is computed": (
        replaced(OWN_CODE, b"x: Tensor)", b'x: Tensor, y: int=len(torch.save(x, "f")))'),
        "not a literal",
    ),
    "code that runs while it loads": (
        replaced(OWN_CODE, b"def forward(", b"def __setstate__(self, x: int) -> None:\n    pass\n  def forward("),
        "__setstate__ is not supported",
    ),
    "a class of C++": (
        replaced(OWN_CODE, b"x: Tensor)", b"x: __torch__.torch.classes.quantized.LinearPackedParamsBase)"),
        "torch.classes is not supported",
    ),
    "no forward": (replaced(OWN_CODE, b"def forward(", b"def backward("), "no forward"),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_with_right_checksums_is_an_error(
    backend: Runner, small: bytes, change: Callable[[str, bytes], bytes | None], message: str
) -> None:
    assert backend_accepts(backend, rewritten(small, lambda member, content: content)), "the rewriting harms nothing"
    with pytest.raises(BackendError, match=message):
        backend.load(rewritten(small, change))


def test_a_compressed_member_of_another_size_is_an_error(backend: Runner, small: bytes) -> None:
    lying = bytearray(small)
    with zipfile.ZipFile(io.BytesIO(small)) as archive:
        name = next(member.filename for member in archive.infolist() if member.compress_type == zipfile.ZIP_DEFLATED)
    entry = small.rindex(b"PK\x01\x02", 0, small.rindex(name.encode()))
    struct.pack_into("<I", lying, entry + 24, 5)
    with pytest.raises(BackendError):
        backend.load(bytes(lying))
