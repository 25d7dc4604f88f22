"""Pins the base images of a Dockerfile: writes the digest that each tag has now, as `FROM image:tag@sha256:…`.

Usage: pin_images.py DOCKERFILE

Asks the registries of the images (OCI distribution specification, "Pulling manifests") anonymously. A second run writes
the digests of newer images of the same tags. Nothing is written if one image has no digest. On loopback it asks by HTTP.
"""

import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

FROM = re.compile(
    r"^(?P<head>FROM\s+(?:--\S+\s+)*)(?P<image>[^\s@]+)(?:@sha256:[0-9a-f]{64})?(?P<tail>(?:\s.*)?)$", re.I
)
TYPES = ", ".join((
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
))
TIMEOUT = 30  # seconds, for each request


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    file = Path(sys.argv[1])
    stages = set()
    lines = []
    try:
        text = file.read_text()
    except OSError as error:
        sys.exit(f"cannot read {file}: {error.strerror}")
    for line in text.splitlines():
        match = FROM.match(line)
        if match and match["image"] not in stages | {"scratch"}:
            line = f"{match['head']}{match['image']}@{digest(match['image'])}{match['tail']}"
        if match:
            stages.update(re.findall(r"\sAS\s+(\S+)", match["tail"], re.I))
        lines.append(line)
    file.write_text("\n".join(lines) + "\n")


def digest(image: str) -> str:
    """The digest of the image's tag, for all platforms if it has several."""
    registry, name, tag = parse(image)
    scheme = "http" if registry.split(":")[0] in ("localhost", "127.0.0.1") else "https"
    url = f"{scheme}://{registry}/v2/{name}/manifests/{tag}"
    try:
        try:
            answer = request(url)
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise
            answer = request(url, token(error.headers.get("WWW-Authenticate", "")))
        found = answer.headers.get("Docker-Content-Digest", "")
    except (OSError, ValueError) as error:
        sys.exit(f"{image} is not pinned: {registry} does not answer as a registry: {error}")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", found):
        sys.exit(f"{image} is not pinned: {registry} names no digest of {name}:{tag}")
    return found


def parse(image: str) -> tuple[str, str, str]:
    """Registry, repository and tag, with the defaults of Docker."""
    first, _, rest = image.partition("/")
    if not rest or not re.search(r"[.:]|^localhost$", first):
        first, rest = "registry-1.docker.io", image if rest else f"library/{image}"
    name, _, tag = rest.partition(":")
    return first, name, tag or "latest"


def request(url: str, bearer: str = "") -> "urllib.request._UrlopenRet":
    headers = {"Accept": TYPES} | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers, method="HEAD"), timeout=TIMEOUT)


def token(challenge: str) -> str:
    """An anonymous token, as the registry's challenge says where to get it."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm = fields.pop("realm", "")
    if not realm.startswith("https://"):
        raise ValueError(f"no realm for tokens in {challenge!r}")
    with urllib.request.urlopen(f"{realm}?{urllib.parse.urlencode(fields)}", timeout=TIMEOUT) as answer:
        found = json.load(answer)
    return found.get("token") or found["access_token"]


if __name__ == "__main__":
    main()
