"""Writes files that no honest program writes. Each function takes where to write, and a secret file to reach for."""

from __future__ import annotations

import functools
import io
import json
import stat
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hornbeam import keras

Attack = Callable[[Path, Path], None]
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
KERNEL = "layers/dense/vars/0"


def model():
    keras.utils.clear_session()  # names count from the start
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")])
    made.compile("sgd", "mse")
    return made


@functools.cache
def honest(suffix: str) -> bytes:
    """An honest file, as Keras writes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"m{suffix}")
        model().save_weights(path) if suffix.startswith(".weights") else model().save(path)
        return path.read_bytes()


# -- weights: each changes an honest HDF5 file ------------------------------------------------------------------------


def replace(file: h5py.File, kernel: str, **how: Any) -> None:
    """The kernel as another dataset."""
    del file[kernel]
    file.create_dataset(kernel, **how)


def external_link(file, kernel, secret):
    del file[kernel]
    file[kernel] = h5py.ExternalLink(str(secret), "/x")


def external_link_on_the_way(file, kernel, secret):
    top = kernel.split("/")[0]
    del file[top]
    file[top] = h5py.ExternalLink(str(secret), "/")


def soft_link(file, kernel, secret):
    del file[kernel]
    file[kernel] = h5py.SoftLink(f"/{kernel}2")
    file[f"{kernel}2"] = np.full((4, 3), 42, "f4")


def external_storage(file, kernel, secret):
    replace(file, kernel, shape=(4, 3), dtype="f4", external=[(str(secret), 0, 48)])


def virtual(file, kernel, secret):
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "x", shape=(4, 3))
    del file[kernel]
    file.create_virtual_dataset(kernel, layout)


def huge_shape(file, kernel, secret):
    replace(file, kernel, shape=(1 << 24, 1 << 24), dtype="f4", chunks=(1024, 1024))


def large_shape(file, kernel, secret):
    """Below the 4 GiB from which Keras looks."""
    replace(file, kernel, shape=(1 << 15, 1 << 14), dtype="f4", chunks=(1024, 1024))


def compressed_zeros(file, kernel, secret):
    replace(file, kernel, data=np.zeros((1 << 12, 4200), "f4"), compression="gzip", compression_opts=1)


def in_circles(file, kernel, secret):
    file[kernel.rpartition("/")[0] + "/again"] = file[kernel.split("/")[0]]


def strings(file, kernel, secret):
    replace(file, kernel, data=["x" * 10] * 3, dtype=h5py.string_dtype())


def unknown_filter(file, kernel, secret):
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((4, 3))
    settings.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)
    del file[kernel]
    space = h5py.h5s.create_simple((4, 3))
    folder, _, name = kernel.rpartition("/")
    h5py.h5d.create(file[folder].id, name.encode(), h5py.h5t.IEEE_F32LE, space, dcpl=settings)


def repeated_strings(file, kernel, secret):
    """Counted as what a file can make of it: every string of the array the whole of the file."""
    many = np.array(["x" * 100] * 3000, dtype=object)
    file["large"] = np.zeros(1 << 16)
    file.attrs.create("weight_names", many, dtype=h5py.string_dtype())


HDF5: dict[str, Callable[[h5py.File, str, Path], None]] = {
    f.__name__: f
    for f in (external_link, external_link_on_the_way, soft_link, external_storage, virtual, huge_shape, large_shape,
              compressed_zeros, in_circles, strings, unknown_filter)
}  # fmt: skip


def weights_file(path: Path, attack: str, secret: Path) -> None:
    path.write_bytes(honest(".weights.h5"))
    with h5py.File(path, "a") as file:
        HDF5[attack](file, KERNEL, secret)


def legacy_file(path: Path, attack: str, secret: Path) -> None:
    """A whole model in the old format, with the same done to its kernel."""
    path.write_bytes(honest(".h5"))
    with h5py.File(path, "a") as file:
        names: list[str] = []
        file.visit(names.append)
        HDF5[attack](file, next(name for name in names if name.endswith("kernel")), secret)


# -- archives: each writes a .keras -----------------------------------------------------------------------------------


def parts() -> dict[str, bytes]:
    """The members of an honest file."""
    with zipfile.ZipFile(io.BytesIO(honest(".keras"))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path | io.BytesIO, members: dict[str, bytes] | list[tuple[Any, bytes]], compression: int = 0) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, data)


def parent_folder(path, secret):
    write(path, {**parts(), "../../planted": b"x"})


def absolute_path(path, secret):
    write(path, {**parts(), f"{secret.parent}/planted": b"x"})


def backslashes(path, secret):
    write(path, {**parts(), "..\\..\\planted": b"x"})


def symlink(path, secret):
    link = zipfile.ZipInfo("assets/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    write(path, [*parts().items(), (link, str(secret).encode())])


def member_twice(path, secret):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's own, of the second name
        write(path, [*parts().items(), (CONFIG, parts()[CONFIG])])


@functools.cache
def bomb(name: str) -> bytes:
    """An archive whose member of that name is 65 MiB of zeros."""
    file, data = io.BytesIO(), bytes(65 << 20)
    if name == WEIGHTS:
        inner = io.BytesIO()
        with h5py.File(inner, "w") as opened:
            opened[KERNEL] = np.frombuffer(data, "f4").reshape(1 << 10, -1)
        data = inner.getvalue()
    write(file, {**parts(), name: data}, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def asset_bomb(path, secret):
    path.write_bytes(bomb("assets/zeros"))


def overlapping(path, secret):
    """Two members share their bytes: the second header of the directory points to the first's data."""
    write(path, {**parts(), "assets/a": bytes(1 << 16), "assets/b": bytes(1 << 16)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.getinfo("assets/b").header_offset = archive.getinfo("assets/a").header_offset
        archive.writestr("assets/c", b"")  # so that the directory is written anew


def weights_bomb(path, secret):
    path.write_bytes(bomb(WEIGHTS))


def configured(change: Callable[[dict], Any]) -> Attack:
    """A file with a changed config."""

    def attack(path: Path, secret: Path) -> None:
        config = json.loads(parts()[CONFIG])
        change(config)
        write(path, {**parts(), CONFIG: json.dumps(config).replace("@secret", str(secret)).encode()})

    attack.__name__ = change.__name__
    return attack


def dense(config: dict) -> dict:
    return config["config"]["layers"][1]["config"]


def add_layer(config: dict, kind: str, package: str = "keras.layers", **settings: Any) -> None:
    build = {"input_shape": [None, 3]}
    config["config"]["layers"].append(
        {"module": package, "class_name": kind, "config": {"name": "extra", **settings}, "build_config": build,
         "registered_name": None}
    )  # fmt: skip


def function(module: str, name: str) -> dict:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def lambda_code(path, secret):
    made = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x + 1, output_shape=(4,))])
    made.save(path)


def lambda_in_an_activation(config):
    dense(config)["activation"] = {"class_name": "__lambda__", "config": {"value": ["", None, None]}}


def function_of_python(config):
    dense(config)["activation"] = function("os", "system")


def function_of_keras(config):
    """Not on Keras's own list of barred functions: it would open a file of the attacker's choice."""
    add_layer(config, "Lambda", function=function("keras.applications.mobilenet", "MobileNet"),
              arguments={"weights": "@secret"}, output_shape=[1])  # fmt: skip


def function_that_sets_options(config):
    dense(config)["activation"] = function("keras.config", "set_floatx")


def safe_mode_switched_off(config):
    dense(config)["activation"] = function("keras.config", "enable_unsafe_deserialization")


def class_that_is_no_layer(config):
    add_layer(config, "Popen", "subprocess", args=["touch", "planted"])


def outer_model(config):
    add_layer(config, "TFSMLayer", filepath="@secret")


def outer_vocabulary(config):
    add_layer(config, "StringLookup", vocabulary="@secret")


def pickled_module(config):
    add_layer(config, "TorchModuleWrapper", "keras.layers", module={"class_name": "__bytes__", "config": {"value": ""}})


def huge_layer(config):
    dense(config)["units"] = 1 << 40


def large_layer(config):
    dense(config)["units"] = 1 << 26


def wide_strings(config):
    dense(config)["kernel_initializer"] = {
        "class_name": "__numpy__", "config": {"value": ["x"] * 9, "dtype": f"U{1 << 28}"},
    }  # fmt: skip


def deep(path, secret):
    write(path, {**parts(), CONFIG: b'{"a":' * 100_000 + b"1" + b"}" * 100_000})


def rather_deep(path, secret):
    write(path, {**parts(), CONFIG: b'{"a":' * 900 + b"1" + b"}" * 900})


CONFIGS: dict[str, Attack] = {
    **{f.__name__: f for f in (lambda_code, deep, rather_deep)},
    **{
        f.__name__: configured(f)
        for f in (lambda_in_an_activation, function_of_python, function_of_keras, function_that_sets_options,
                  safe_mode_switched_off, class_that_is_no_layer, outer_model, outer_vocabulary, pickled_module,
                  huge_layer, large_layer, wide_strings)
    },
}  # fmt: skip
ARCHIVES: dict[str, Attack] = {
    f.__name__: f
    for f in (parent_folder, absolute_path, backslashes, symlink, member_twice, asset_bomb, overlapping, weights_bomb)
}


def weights_inside(attack: str) -> Attack:
    """A `.keras` whose weights are those of a hostile HDF5 file."""

    def made(path: Path, secret: Path) -> None:
        inner = path.with_suffix(".weights.h5")
        weights_file(inner, attack, secret)
        write(path, {**parts(), WEIGHTS: inner.read_bytes()})

    return made
