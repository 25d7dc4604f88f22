"""Writes a CycloneDX 1.5 SBOM of the programs from `cargo metadata` on standard input.

It has the crates that the programs are built from on any platform: normal and build dependencies, not those of tests.
"""

import json
import sys
import uuid

PROGRAMS = ("sailhand", "sailhand-analyze")


def main() -> None:
    metadata = json.load(sys.stdin)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    roots = [id for id in metadata["workspace_members"] if packages[id]["name"] in PROGRAMS]
    needed, edges = closure(roots, nodes)
    main_id = next(id for id in roots if packages[id]["name"] == PROGRAMS[0])
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(packages[main_id], "application")},
        "components": sorted(
            (component(packages[id], "library") for id in needed if id != main_id),
            key=lambda it: it["bom-ref"],
        ),
        "dependencies": sorted(
            ({"ref": ref(packages[id]), "dependsOn": sorted(ref(packages[it]) for it in edges[id])} for id in needed),
            key=lambda it: it["ref"],
        ),
    }
    # Equal contents have an equal number.
    text = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, text)}"
    json.dump(document, sys.stdout, indent=2, sort_keys=True)
    print()


def closure(roots, nodes):
    """All packages that the roots need, and the dependencies of each."""
    edges, waiting = {}, list(roots)
    while waiting:
        id = waiting.pop()
        if id in edges:
            continue
        edges[id] = {
            dependency["pkg"]
            for dependency in nodes[id]["deps"]
            if any(kind["kind"] in (None, "build") for kind in dependency["dep_kinds"])
        }
        waiting.extend(edges[id])
    return set(edges), edges


def ref(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, kind):
    found = {
        "type": kind,
        "bom-ref": ref(package),
        "purl": ref(package),
        "name": package["name"],
        "version": package["version"],
    }
    if package.get("license"):
        # Older crates separate alternatives with a slash.
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if package.get("repository"):
        found["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return found


main()
