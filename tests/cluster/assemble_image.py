#!/usr/bin/env python3
"""Writes a container image of one layer, as `docker save` does, from files of this machine; `ctr images import` takes it.

    assemble_image.py OUT.tar NAME[,NAME...] [options] SOURCE:PATH:MODE...

`--also` makes another image of the same files, that starts something else. Everything in it belongs to root and has no date, so that equal files make equal images.
"""

import argparse
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
import tempfile

USERS = "root:x:0:0:root:/root:/bin/sh\nistio-proxy:x:1337:1337:p:/home:/bin/sh\nnobody:x:65534:65534:n:/:/bin/sh\n"
GROUPS = "root:x:0:\nistio-proxy:x:1337:\nnogroup:x:65534:\n"


class Layer:
    """A tar in the making; the first file of a path wins."""

    def __init__(self, out):
        self.tar = tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT)
        self.seen = set()

    def _new(self, path):
        path = path.strip("/")
        if path in self.seen:
            return None
        parent = os.path.dirname(path)
        if parent:
            self.folder(parent)
        self.seen.add(path)
        return tarfile.TarInfo(path)

    def folder(self, path, mode=0o755, owner=0):
        info = self._new(path)
        if info:
            info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, owner, owner
            self.tar.addfile(info)

    def text(self, path, text):
        info = self._new(path)
        if info:
            info.size, info.mode = len(text), 0o644
            self.tar.addfile(info, io.BytesIO(text.encode()))

    def link(self, path, target):
        info = self._new(path)
        if info:
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
            self.tar.addfile(info)

    def file(self, source, path, mode=None):
        if os.path.isdir(source):
            for name in sorted(os.listdir(source)):
                self.file(os.path.join(source, name), f"{path}/{name}", mode)
            return
        source = os.path.realpath(source)
        info = self._new(path)
        if info:
            status = os.stat(source)
            info.size, info.mode = status.st_size, mode if mode is not None else status.st_mode & 0o777
            with open(source, "rb") as content:
                self.tar.addfile(info, content)

    def libraries(self, program):
        """The shared libraries that a program asks for, where the loader looks for them."""
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        for line in listed.splitlines():
            found = re.search(r"(?:=> )?(/\S+) \(0x", line)
            if found:
                name = line.split()[0]
                place = name if name.startswith("/") else f"/lib/x86_64-linux-gnu/{name}"
                self.file(found.group(1), place)

    def busybox(self, program):
        self.file(program, "/bin/busybox", 0o755)
        names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
        taken = {os.path.basename(path) for path in self.seen}
        for name in sorted(set(names) - taken):
            self.link(f"/bin/{name}", "busybox")


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("names")
    parser.add_argument("--user", default="")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--entrypoint", default="[]", metavar="JSON")
    parser.add_argument("--also", action="append", default=[], nargs=2, metavar=("NAME", "ENTRYPOINT"))
    parser.add_argument("--dir", action="append", default=[], metavar="PATH:MODE:OWNER")
    parser.add_argument("--link", action="append", default=[], metavar="PATH=TARGET")
    parser.add_argument("--ldd", action="append", default=[], metavar="PROGRAM")
    parser.add_argument("--busybox", metavar="PROGRAM")
    parser.add_argument("files", nargs="*", metavar="SOURCE:PATH[:MODE]")
    return parser.parse_intermixed_args()


def fill(layer, wanted):
    for one in wanted.dir:
        path, mode, owner = one.split(":")
        layer.folder(path, int(mode, 8), int(owner))
    layer.folder("/tmp", 0o1777)
    layer.text("/etc/passwd", USERS)
    layer.text("/etc/group", GROUPS)
    layer.text("/etc/nsswitch.conf", "hosts: files dns\n")
    for one in wanted.files:
        source, path, *mode = one.split(":")
        layer.file(source, path, int(mode[0], 8) if mode else None)
    for one in wanted.ldd:
        layer.libraries(one)
    for one in wanted.link:
        layer.link(*one.split("=", 1))
    if wanted.busybox:
        layer.busybox(wanted.busybox)
    layer.tar.close()


def configuration(wanted, entrypoint, digest):
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": wanted.user,
            "Env": [path, *wanted.env],
            "Entrypoint": json.loads(entrypoint) or None,
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }


def main():
    wanted = arguments()
    with tempfile.TemporaryFile(dir=os.path.dirname(wanted.out)) as content:
        fill(Layer(content), wanted)
        content.seek(0)
        digest = hashlib.file_digest(content, "sha256").hexdigest()
        manifest, files = [], {}
        for names, entrypoint in [(wanted.names, wanted.entrypoint), *wanted.also]:
            config = json.dumps(configuration(wanted, entrypoint, digest)).encode()
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            files[name] = config
            manifest.append({"Config": name, "RepoTags": names.split(","), "Layers": [f"{digest}/layer.tar"]})
        files["manifest.json"] = json.dumps(manifest).encode()
        with tarfile.open(wanted.out, "w") as image:
            for path, data in files.items():
                info = tarfile.TarInfo(path)
                info.size = len(data)
                image.addfile(info, io.BytesIO(data))
            layer = tarfile.TarInfo(f"{digest}/layer.tar")
            layer.size = content.seek(0, os.SEEK_END)
            content.seek(0)
            image.addfile(layer, content)


main()
