package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/folderv1beta1"
	"github.com/grafana/grafana-foundation-sdk/go/resource"
)

const (
	boardGroup  = "dashboard.grafana.app"
	folderGroup = "folder.grafana.app"
	// Annotations of grafana/grafana, pkg/apimachinery/utils.
	folderKey  = "grafana.app/folder"
	messageKey = "grafana.app/message"
	managerKey = "grafana.app/managedBy"
	grantKey   = "grafana.app/grant-permissions"
)

// The API below /apis, which Grafana has since 12: resources as in Kubernetes.
func (s *state) resources(r *request) answer {
	if len(r.path) == 0 {
		return s.discovery()
	}
	// <group>/<version>/namespaces/<namespace>/<resource>[/<name>[/<subresource>]]
	if len(r.path) < 5 || len(r.path) > 7 || r.path[2] != "namespaces" || !slices.Contains(s.settings.Apis, r.path[1]) {
		return notFound
	}
	kind := kinds[r.path[0]]
	if kind.plural == "" || kind.plural != r.path[4] {
		return notFound
	}
	if r.path[3] != s.namespace() {
		return kind.failure(http.StatusForbidden, "Forbidden", "", "invalid namespace "+r.path[3])
	}
	action := map[string]string{"GET": "read", "POST": "create", "PUT": "write", "DELETE": "delete"}[r.method]
	if !r.may(kind.plural + ":" + action) {
		message := kind.plural + "." + kind.group + " is forbidden: User \"" + r.user + "\" cannot " + action +
			" resource \"" + kind.plural + "\" in the namespace \"" + r.path[3] + "\""
		return kind.failure(http.StatusForbidden, "Forbidden", "", message)
	}
	call := &resourceCall{request: r, kind: kind, version: r.path[1]}
	if len(r.path) > 5 {
		call.name = r.path[5]
	}
	if r.method == "POST" || r.method == "PUT" {
		if fault := call.decode(); fault != nil {
			return *fault
		}
	}
	if kind.group == folderGroup {
		return s.resourceFolders(call)
	}
	return s.resourceBoards(call)
}

type kind struct{ group, kind, plural string }

var kinds = map[string]kind{
	boardGroup:  {boardGroup, "Dashboard", "dashboards"},
	folderGroup: {folderGroup, "Folder", "folders"},
}

type resourceCall struct {
	*request
	kind    kind
	version string
	name    string
	given   resource.Manifest
	spec    map[string]any
}

// An error as an API server of Kubernetes has it.
func (k kind) failure(status int, reason, name, message string) answer {
	return answer{status, map[string]any{"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{},
		"status": "Failure", "message": message, "reason": reason, "code": status,
		"details": map[string]any{"name": name, "group": k.group, "kind": k.plural}}}
}

func (c *resourceCall) notFound() answer {
	message := c.kind.plural + "." + c.kind.group + " \"" + c.name + "\" not found"
	return c.kind.failure(http.StatusNotFound, "NotFound", c.name, message)
}

func (c *resourceCall) conflict() answer {
	message := "Operation cannot be fulfilled on " + c.kind.plural + "." + c.kind.group + " \"" + c.name +
		"\": requested RV does not match current RV"
	return c.kind.failure(http.StatusConflict, "Conflict", c.name, message)
}

func (c *resourceCall) exists() answer {
	message := c.kind.plural + "." + c.kind.group + " \"" + c.name + "\" already exists"
	return c.kind.failure(http.StatusConflict, "AlreadyExists", c.name, message)
}

func (c *resourceCall) bad(message string) answer {
	return c.kind.failure(http.StatusBadRequest, "BadRequest", c.name, message)
}

// Decodes and checks the object of a request.
func (c *resourceCall) decode() *answer {
	refused := func(result answer) *answer { return &result }
	if err := strict(c.given.UnmarshalJSONStrict(c.body)); err != nil {
		return refused(c.bad(err.Error()))
	}
	meta := &c.given.Metadata
	spec, isObject := c.given.Spec.(map[string]any)
	switch {
	case c.given.ApiVersion != c.kind.group+"/"+c.version || c.given.Kind != c.kind.kind:
		return refused(c.bad("the object is a " + c.given.ApiVersion + " " + c.given.Kind))
	case !isObject:
		return refused(c.bad("spec is not an object"))
	case meta.Namespace != nil && *meta.Namespace != c.path[3]:
		return refused(c.bad("the namespace of the object does not match the namespace of the request"))
	case c.method == "PUT" && meta.Name != c.name:
		return refused(c.bad("the name of the object does not match the name of the request"))
	case c.method == "POST" && meta.ResourceVersion != nil:
		return refused(c.bad("resourceVersion should not be set on objects to be created"))
	}
	c.name, c.spec = meta.Name, spec
	if fault := uidFault(c.name); fault != "" {
		return refused(c.bad(fault))
	}
	return nil
}

// Whether the object may replace one with this version. Source: `validateUpdate` of Grafana 12.0 for the generation.
func (c *resourceCall) replaces(version, current int64) bool {
	meta := &c.given.Metadata
	return (meta.ResourceVersion == nil || *meta.ResourceVersion == revision(current)) &&
		meta.Generation != nil && *meta.Generation == version
}

func (s *state) discovery() answer {
	groups := []any{}
	for _, name := range []string{boardGroup, folderGroup} {
		versions := []any{}
		for _, version := range s.settings.Apis {
			versions = append(versions, map[string]any{"groupVersion": name + "/" + version, "version": version})
		}
		groups = append(groups, map[string]any{"name": name, "versions": versions, "preferredVersion": versions[0]})
	}
	return ok(map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

func (s *state) manifest(c *resourceCall, uid string, version, current int64, annotations map[string]string, spec map[string]any) *resource.Manifest {
	return &resource.Manifest{ApiVersion: c.kind.group + "/" + c.version, Kind: c.kind.kind, Spec: spec,
		Metadata: resource.Metadata{Name: uid, Namespace: pointer(s.namespace()), Generation: pointer(version),
			ResourceVersion: pointer(revision(current)), Annotations: annotations,
			CreationTimestamp: pointer("2026-11-28T16:00:00Z")}}
}

func (s *state) resourceFolder(c *resourceCall, uid string) *resource.Manifest {
	one := s.folders[uid]
	annotations := map[string]string{"grafana.app/createdBy": "user:u1"}
	if one.parent != "" {
		annotations[folderKey] = one.parent
	}
	return s.manifest(c, uid, one.version, one.revision, annotations, map[string]any{"title": one.title, "description": one.description})
}

func (s *state) resourceFolders(c *resourceCall) answer {
	live := s.folders[c.name]
	switch {
	case c.method == "POST" && len(c.path) == 5:
		if live != nil {
			return c.exists()
		}
		text, _ := json.Marshal(c.spec)
		var spec folderv1beta1.Folder
		if err := strict(spec.UnmarshalJSONStrict(text)); err != nil {
			return c.bad(err.Error())
		}
		if spec.Title == "" {
			return c.bad("folder title cannot be empty")
		}
		annotations := c.given.Metadata.Annotations
		// Without the annotation only administrators see a folder at the root.
		s.folders[c.name] = &folder{title: spec.Title, parent: annotations[folderKey], id: s.nextID(), version: 1,
			revision: s.nextRevision(), shared: annotations[grantKey] == "default"}
		return answer{http.StatusCreated, s.resourceFolder(c, c.name)}
	case live == nil:
		return c.notFound()
	case c.method == "GET" && len(c.path) == 6:
		return ok(s.resourceFolder(c, c.name))
	case c.method == "GET" && len(c.path) == 7 && c.path[6] == "counts":
		count := s.boardsIn(c.name)
		// The older storage counts the same dashboards under another group.
		counts := []any{map[string]any{"group": boardGroup, "resource": "dashboards", "count": count},
			map[string]any{"group": "sql-fallback", "resource": "dashboards", "count": count},
			map[string]any{"group": folderGroup, "resource": "folders", "count": 0}}
		return ok(map[string]any{"kind": "DescendantCounts", "apiVersion": folderGroup + "/" + c.version, "counts": counts})
	case c.method == "DELETE" && len(c.path) == 6:
		s.deleteFolder(c.name)
		return ok(map[string]any{"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Success"})
	default:
		return c.kind.failure(http.StatusMethodNotAllowed, "MethodNotAllowed", c.name, "the server does not allow this method on the requested resource")
	}
}

func (s *state) resourceBoard(c *resourceCall, uid string) *resource.Manifest {
	one := s.boards[uid]
	annotations := map[string]string{"grafana.app/createdBy": "user:u1", "grafana.app/updatedBy": "user:" + one.updatedBy,
		"grafana.app/updatedTimestamp": one.updated.String()}
	if one.folder != "" {
		annotations[folderKey] = one.folder
	}
	if one.provisioned {
		annotations[managerKey] = "classic-file-provisioning"
	}
	return s.manifest(c, uid, one.version, one.revision, annotations, one.spec)
}

func (s *state) resourceBoards(c *resourceCall) answer {
	live := s.boards[c.name]
	switch {
	case c.method == "GET" && len(c.path) == 5:
		return s.listBoards(c)
	case (c.method == "POST" && len(c.path) == 5) || (c.method == "PUT" && len(c.path) == 6):
		return s.writeBoard(c, live)
	case live == nil:
		return c.notFound()
	case c.method == "GET" && len(c.path) == 6:
		return ok(s.resourceBoard(c, c.name))
	case c.method == "DELETE" && len(c.path) == 6:
		if live.provisioned {
			return c.bad("provisioned dashboard cannot be deleted")
		}
		delete(s.boards, c.name)
		return ok(map[string]any{"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Success"})
	default:
		return c.kind.failure(http.StatusMethodNotAllowed, "MethodNotAllowed", c.name, "the server does not allow this method on the requested resource")
	}
}

func (s *state) writeBoard(c *resourceCall, live *board) answer {
	annotations := c.given.Metadata.Annotations
	if fault := s.boardFault(c.name, annotations[folderKey], annotations[messageKey], c.spec); fault != "" {
		return c.bad(fault)
	}
	// Grafana 12.0 refuses older versions of the schema here, unless a request asks it not to.
	if schema, _ := c.spec["schemaVersion"].(float64); schema != latestSchema && c.query.Get("fieldValidation") != "Ignore" {
		message := "Dashboard.dashboard.grafana.app \"" + c.name + "\" is invalid: spec.schemaVersion: Invalid value: must be " + strconv.Itoa(latestSchema)
		return c.kind.failure(http.StatusUnprocessableEntity, "Invalid", c.name, message)
	}
	if c.method == "POST" {
		if live != nil {
			return c.exists()
		}
		s.saveBoard(c.name, annotations[folderKey], c.user, c.spec)
		return answer{http.StatusCreated, s.resourceBoard(c, c.name)}
	}
	if live == nil {
		return c.notFound()
	}
	s.editBetween(c.name)
	if live.provisioned {
		return c.bad("Cannot save provisioned dashboard")
	}
	if !c.replaces(live.version, live.revision) {
		return c.conflict()
	}
	s.saveBoard(c.name, annotations[folderKey], c.user, c.spec)
	return ok(s.resourceBoard(c, c.name))
}

func (s *state) listBoards(c *resourceCall) answer {
	names := []string{}
	for uid := range s.boards {
		names = append(names, uid)
	}
	sort.Strings(names)
	after := strings.TrimPrefix(c.query.Get("continue"), "after-")
	if s.settings.Endless != "" {
		after = ""
	}
	if s.settings.Endless == "empty" {
		names = nil
	}
	names = slices.DeleteFunc(names, func(uid string) bool { return uid <= after })
	metadata := map[string]any{"resourceVersion": revision(s.lastRevision)}
	if limit, err := strconv.Atoi(c.query.Get("limit")); err == nil && limit > 0 && len(names) > limit {
		names = names[:limit]
		metadata["continue"] = "after-" + names[limit-1]
	}
	if s.settings.Endless != "" {
		metadata["continue"] = "again"
	}
	items := []any{}
	for _, uid := range names {
		items = append(items, s.resourceBoard(c, uid))
	}
	return ok(map[string]any{"kind": "DashboardList", "apiVersion": boardGroup + "/" + c.version, "metadata": metadata, "items": items})
}
