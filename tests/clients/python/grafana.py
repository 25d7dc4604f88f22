"""grafana-client, a client that others wrote, against the double of Grafana that our tests use (tests/tools/grafana).

It creates, reads, updates and deletes what the client can, then reads what `sailhand run dashboard.apply` has written and
stores the dashboards in SAILHAND_DASHBOARDS, where another check reads them. The client has no calls for `/apis`.
"""

import json
import os
import pathlib
import sys

from grafana_client import GrafanaApi
from grafana_client.client import GrafanaBadInputError, GrafanaClientError, GrafanaUnauthorizedError

failed = False


def report(name, problem=None):
    global failed
    if problem is None:
        print(f"ok grafana-client: {name}")
    else:
        failed = True
        print(f"FAILED grafana-client: {name}: {problem}")


def check(name, is_right, problem):
    report(name, None if is_right else problem)


def refused(call, kind, status=None):
    """Whether the call fails with this class of errors, and this HTTP status."""
    try:
        call()
    except kind as error:
        return status is None or error.status_code == status
    return False


def board(uid, title, version=None):
    body = {"uid": uid, "title": title, "schemaVersion": 39, "templating": {"list": []}, "annotations": {"list": []}}
    if version is not None:
        body["version"] = version
    return {"dashboard": body, "folderUid": "theirs", "message": "by grafana-client", "overwrite": False}


def create_read_update_delete(grafana):
    grafana.connect()
    check("health and version", grafana.version.startswith("12."), grafana.version)
    check("organization", grafana.organization.get_current_organization()["id"] == 1, "its id is not 1")

    folder = grafana.folder.create_folder("Theirs", uid="theirs")
    check("folder: create", (folder["uid"], folder["title"]) == ("theirs", "Theirs"), folder)
    check("folder: list", "theirs" in [one["uid"] for one in grafana.folder.get_all_folders()], "it is not listed")
    folder = grafana.folder.update_folder("theirs", title="Theirs 2", version=folder["version"])
    check("folder: update", grafana.folder.get_folder("theirs")["title"] == "Theirs 2", folder)
    stale = refused(lambda: grafana.folder.update_folder("theirs", title="x", version=7), GrafanaClientError, 412)
    check("folder: a stale version is refused", stale, "it was accepted")

    source = {"uid": "ds", "name": "Theirs", "type": "prometheus", "access": "proxy", "url": "http://p.example:9090",
              "secureJsonData": {"httpHeaderValue1": "secret"}}
    created = grafana.datasource.create_datasource(source)["datasource"]
    check("data source: create", created["version"] == 1 and "secureJsonData" not in created, created)
    updated = grafana.datasource.update_datasource_by_uid("ds", {**source, "url": "http://q.example:9090", "version": 1})
    check("data source: update", updated["datasource"]["version"] == 2, updated)
    read = grafana.datasource.get_datasource_by_uid("ds")
    check("data source: read", read["url"] == "http://q.example:9090", read)
    check("data source: by name", grafana.datasource.get_datasource_by_name("Theirs")["uid"] == "ds", "another one")
    check("data source: health", grafana.datasource.health("ds")["status"] == "OK", "it is not OK")
    check("data source: list", any(one["uid"] == "ds" for one in grafana.datasource.list_datasources()), "not listed")
    again = refused(lambda: grafana.datasource.create_datasource(source), GrafanaClientError, 409)
    check("data source: a second one of the name is refused", again, "it was accepted")

    created = grafana.dashboard.update_dashboard(board("b", "Theirs"))
    check("dashboard: create", (created["status"], created["version"]) == ("success", 1), created)
    created = grafana.dashboard.update_dashboard(board("b", "Theirs 2", version=1))
    read = grafana.dashboard.get_dashboard("b")
    expected = ("Theirs 2", 2, "theirs")
    check("dashboard: update", (read["dashboard"]["title"], read["meta"]["version"], read["meta"]["folderUid"]) == expected, read)
    stale = refused(lambda: grafana.dashboard.update_dashboard(board("b", "x", version=1)), GrafanaClientError, 412)
    check("dashboard: a stale version is refused", stale, "it was accepted")
    unknown = board("b", "x", version=2)
    unknown["dashboard"]["shown"] = True
    refuses = refused(lambda: grafana.dashboard.update_dashboard(unknown), GrafanaBadInputError)
    check("dashboard: an unknown field is refused", refuses, "it was accepted")
    check("search", [one["uid"] for one in grafana.search.search_dashboards(query="Theirs")] == ["b"], "another answer")

    grafana.dashboard.delete_dashboard("b")
    check("dashboard: delete", refused(lambda: grafana.dashboard.get_dashboard("b"), GrafanaClientError, 404), "it is there")
    grafana.datasource.delete_datasource_by_uid("ds")
    gone = refused(lambda: grafana.datasource.get_datasource_by_uid("ds"), GrafanaClientError, 404)
    check("data source: delete", gone, "it is there")
    grafana.folder.delete_folder("theirs")
    check("folder: delete", refused(lambda: grafana.folder.get_folder("theirs"), GrafanaClientError, 404), "it is there")


def read_ours(grafana, folder):
    ours = [one for one in grafana.search.search_dashboards() if one["uid"].startswith("sailhand-")]
    check("the dashboards of dashboard.apply", len(ours) == 5, f"{len(ours)} are found")
    for one in ours:
        read = grafana.dashboard.get_dashboard(one["uid"])
        title = grafana.folder.get_folder(read["meta"]["folderUid"])["title"]
        source = read["dashboard"]["templating"]["list"][0]["current"]["value"]
        data = grafana.datasource.get_datasource_by_uid(source)
        problem = None if (title, data["type"]) == ("Istio", "prometheus") else f"folder {title}, data source {data}"
        report(f"{read['dashboard']['title']}: folder and data source", problem)
        (folder / f"{one['uid']}.json").write_text(json.dumps(read["dashboard"]))


host, port = os.environ["SAILHAND_GRAFANA"].split(":")
token = os.environ["SAILHAND_GRAFANA_TOKEN"]
client = GrafanaApi(auth=token, host=host, port=int(port))
create_read_update_delete(client)
read_ours(client, pathlib.Path(os.environ["SAILHAND_DASHBOARDS"]))
wrong = GrafanaApi(auth="wrong", host=host, port=int(port))
check("a wrong token is refused", refused(lambda: wrong.folder.get_all_folders(), GrafanaUnauthorizedError), "it was accepted")
sys.exit(1 if failed else 0)
