"""Checks the files below schemas/ with `jsonschema`: every schema is one, every example fits, nonsense does not.

Prints one line per file, `ok NAME` or `FAILED NAME: reason`; exit status 1 when one failed.
"""

import json
import pathlib
import sys

from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from jsonschema import Draft202012Validator, validators

SCHEMAS = pathlib.Path(__file__).resolve().parents[3] / "schemas"
TYPE = "io.meshery.istio."


def load(path):
    return json.loads(path.read_text("utf-8"))


def validator(event_type):
    """Of the `data` of an event of this type."""
    kind, _, name = event_type.removeprefix(TYPE).partition(".")
    schema = load(SCHEMAS / f"{kind}s" / f"{name}.json")
    return validators.validator_for(schema, default=Draft202012Validator)(schema)


def check_schema(path):
    schema = load(path)
    cls = validators.validator_for(schema, default=Draft202012Validator)
    cls.check_schema(schema)
    if cls(schema).is_valid({"no such field": True}):
        raise AssertionError("it accepts an unknown field")


def check_example(path):
    event = JSONFormat().read(CloudEvent, path.read_bytes())
    if not event.get_type().startswith(TYPE):
        raise AssertionError(f"its type is {event.get_type()}")
    validator(event.get_type()).validate(event.get_data())


def main():
    failed = 0
    for folder, check in (
        ("commands", check_schema),
        ("events", check_schema),
        ("results", check_schema),
        ("examples", check_example),
    ):
        paths = sorted((SCHEMAS / folder).rglob("*.json"))
        if not paths:
            failed += 1
            print(f"FAILED contract: schemas/{folder}: there is no file")
        for path in paths:
            name = f"contract: {path.relative_to(SCHEMAS.parent)}"
            try:
                check(path)
                print(f"ok {name}")
            except Exception as error:  # whatever it is, the next file is checked
                failed += 1
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                print(f"FAILED {name}: {reason}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
