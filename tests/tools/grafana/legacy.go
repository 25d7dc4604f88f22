package main

import (
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"

	"github.com/grafana/grafana-openapi-client-go/models"
)

var notFound = refusal(http.StatusNotFound, "Not found")

// The API below /api, which all versions of Grafana have.
func (s *state) legacy(r *request) answer {
	if len(r.path) == 0 {
		return notFound
	}
	switch r.path[0] {
	case "org":
		return ok(&models.OrgDetailsDTO{ID: max(s.settings.OrgID, 1), Name: "Main Org."})
	case "frontend":
		return s.frontendSettings(r)
	case "search":
		return s.search(r)
	case "folders":
		return s.legacyFolders(r)
	case "datasources":
		return s.dataSources(r)
	case "dashboards":
		return s.legacyBoards(r)
	default:
		return notFound
	}
}

func denied(action string) answer {
	return refusal(http.StatusForbidden, "You'll need additional permissions to perform this action. Permissions needed: "+action)
}

// The client library has no model of it; grafana-client reads `buildInfo`.
func (s *state) frontendSettings(r *request) answer {
	if s.settings.HideSettings || !r.is(http.MethodGet, "frontend", "settings") {
		return notFound
	}
	return ok(map[string]any{
		"appSubUrl": "", "namespace": s.namespace(),
		"buildInfo": map[string]any{"version": grafanaVersion, "commit": "0", "edition": "Open Source"},
	})
}

func (s *state) search(r *request) answer {
	limit, err := strconv.Atoi(r.query.Get("limit"))
	if err != nil {
		limit = 1000
	}
	hits := models.HitList{}
	for uid, one := range s.boards {
		title, _ := one.spec["title"].(string)
		if strings.Contains(strings.ToLower(title), strings.ToLower(r.query.Get("query"))) {
			hits = append(hits, &models.Hit{UID: uid, ID: one.id, Title: title, Type: "dash-db", FolderUID: one.folder,
				URL: "/d/" + uid, Tags: []string{}})
		}
	}
	sort.Slice(hits, func(a, b int) bool { return hits[a].Title < hits[b].Title })
	return ok(hits[:min(limit, len(hits))])
}

func (s *state) legacyFolders(r *request) answer {
	var uid string
	if len(r.path) > 1 {
		uid = r.path[1]
	}
	live := s.folders[uid]
	switch {
	case r.is("GET", "folders"):
		hits := []*models.FolderSearchHit{}
		for uid, one := range s.folders {
			hits = append(hits, &models.FolderSearchHit{UID: uid, ID: one.id, Title: one.title})
		}
		return ok(hits)
	case r.is("POST", "folders"):
		if !r.may("folders:create") {
			return denied("folders:create")
		}
		var command models.CreateFolderCommand
		if err := decode(r.body, &command); err != nil {
			return refusal(http.StatusBadRequest, err.Error())
		}
		return s.createFolder(&command)
	case live == nil:
		return refusal(http.StatusNotFound, "folder not found")
	case r.is("GET", "folders", "*"):
		return ok(folderModel(uid, live))
	case r.is("GET", "folders", "*", "counts"):
		counts := models.DescendantCounts{"alertrule": 0, "dashboard": s.boardsIn(uid), "folder": 0, "librarypanel": 0}
		return ok(counts)
	case r.is("PUT", "folders", "*"):
		if !r.may("folders:write") {
			return denied("folders:write")
		}
		var command models.UpdateFolderCommand
		if err := decode(r.body, &command); err != nil {
			return refusal(http.StatusBadRequest, err.Error())
		}
		if command.Version != live.version && !command.Overwrite {
			return mismatch("The folder has been changed by someone else")
		}
		live.title, live.version, live.revision = command.Title, live.version+1, s.nextRevision()
		return ok(folderModel(uid, live))
	case r.is("DELETE", "folders", "*"):
		if !r.may("folders:delete") {
			return denied("folders:delete")
		}
		s.deleteFolder(uid)
		return ok(&models.DeleteFolderOKBody{ID: pointer(live.id), Message: pointer("Folder deleted"), Title: pointer(live.title)})
	default:
		return notFound
	}
}

func (s *state) createFolder(command *models.CreateFolderCommand) answer {
	uid := command.UID
	if uid == "" {
		uid = fmt.Sprintf("f%d", s.nextID())
	}
	if fault := uidFault(uid); fault != "" {
		return refusal(http.StatusBadRequest, fault)
	}
	if command.Title == "" {
		return refusal(http.StatusBadRequest, "folder title cannot be empty")
	}
	if s.folders[uid] != nil {
		return refusal(http.StatusPreconditionFailed, "the folder has been changed by someone else")
	}
	one := &folder{title: command.Title, description: command.Description, parent: command.ParentUID, id: s.nextID(),
		version: 1, revision: s.nextRevision(), shared: true}
	s.folders[uid] = one
	return ok(folderModel(uid, one))
}

func folderModel(uid string, one *folder) *models.Folder {
	return &models.Folder{UID: uid, ID: one.id, Title: one.title, Version: one.version, ParentUID: one.parent,
		URL: "/dashboards/f/" + uid, CanEdit: true, CanSave: true}
}

func mismatch(message string) answer {
	body := &models.ErrorResponseBody{Message: pointer(message), Status: "version-mismatch"}
	return answer{http.StatusPreconditionFailed, body}
}

func (s *state) dataSources(r *request) answer {
	action := "datasources:" + map[string]string{"GET": "read", "POST": "create", "PUT": "write", "DELETE": "delete"}[r.method]
	if r.is("GET", "datasources", "uid", "*", "health") {
		action = "dashboards:read" // anyone who may query
	}
	if !r.may(action) {
		return denied(action)
	}
	var live *models.DataSource
	if len(r.path) > 2 && r.path[1] == "uid" {
		live = s.sources[r.path[2]]
	}
	if len(r.path) > 2 && r.path[1] == "name" {
		for _, one := range s.sources {
			if one.Name == r.path[2] {
				live = one
			}
		}
	}
	switch {
	case r.is("GET", "datasources"):
		list := models.DataSourceList{}
		for _, one := range s.sources {
			list = append(list, &models.DataSourceListItemDTO{UID: one.UID, ID: one.ID, Name: one.Name, Type: one.Type, URL: one.URL})
		}
		return ok(list)
	case r.is("POST", "datasources"):
		var command models.AddDataSourceCommand
		if err := decode(r.body, &command); err != nil {
			return refusal(http.StatusBadRequest, err.Error())
		}
		return s.addDataSource(&command)
	case live == nil:
		return refusal(http.StatusNotFound, "Data source not found")
	case r.is("GET", "datasources", "*", "*"):
		return ok(live)
	case r.is("GET", "datasources", "uid", "*", "health"):
		return ok(map[string]any{"status": "OK", "message": "Successfully queried the Prometheus API."})
	case r.is("PUT", "datasources", "uid", "*"):
		var command models.UpdateDataSourceCommand
		if err := decode(r.body, &command); err != nil {
			return refusal(http.StatusBadRequest, err.Error())
		}
		return s.updateDataSource(live, &command)
	case r.is("DELETE", "datasources", "*", "*"):
		if live.ReadOnly {
			return refusal(http.StatusForbidden, "Cannot delete read-only data source")
		}
		delete(s.sources, live.UID)
		return ok(&models.DeleteDataSourceByNameOKBody{ID: pointer(live.ID), Message: pointer("Data source deleted")})
	default:
		return notFound
	}
}

func (s *state) addDataSource(command *models.AddDataSourceCommand) answer {
	uid := command.UID
	if uid == "" {
		uid = fmt.Sprintf("d%d", s.nextID())
	}
	fault := uidFault(uid)
	switch {
	case fault != "":
		return refusal(http.StatusBadRequest, fault)
	case command.Name == "" || command.Type == "" || command.Access == "":
		return refusal(http.StatusBadRequest, "bad request data: name, type and access are required")
	case command.URL != "" && !strings.Contains(command.URL, "://"):
		return refusal(http.StatusBadRequest, "Validation error, invalid URL: "+command.URL)
	case s.sources[uid] != nil:
		return refusal(http.StatusConflict, "data source with the same uid already exists")
	}
	for _, one := range s.sources {
		if one.Name == command.Name {
			return refusal(http.StatusConflict, "data source with the same name already exists")
		}
	}
	one := &models.DataSource{UID: uid, ID: s.nextID(), OrgID: 1, Name: command.Name, Type: command.Type,
		Access: command.Access, URL: command.URL, JSONData: command.JSONData, IsDefault: command.IsDefault,
		BasicAuth: command.BasicAuth, BasicAuthUser: command.BasicAuthUser, WithCredentials: command.WithCredentials,
		SecureJSONFields: fieldsOf(command.SecureJSONData), Version: 1}
	s.sources[uid] = one
	return ok(&models.AddDataSourceOKBody{Datasource: one, ID: pointer(one.ID), Message: pointer("Datasource added"), Name: pointer(one.Name)})
}

func (s *state) updateDataSource(live *models.DataSource, command *models.UpdateDataSourceCommand) answer {
	switch {
	case live.ReadOnly:
		return refusal(http.StatusForbidden, "Cannot update read-only data source")
	case command.Name == "" || command.Type == "" || command.Access == "":
		return refusal(http.StatusBadRequest, "bad request data: name, type and access are required")
	case command.Version != 0 && command.Version != live.Version:
		return refusal(http.StatusConflict, "Datasource has already been updated by someone else. Please reload and try again")
	}
	live.Name, live.Type, live.Access, live.URL = command.Name, command.Type, command.Access, command.URL
	live.JSONData, live.IsDefault, live.BasicAuth = command.JSONData, command.IsDefault, command.BasicAuth
	live.BasicAuthUser, live.WithCredentials = command.BasicAuthUser, command.WithCredentials
	live.SecureJSONFields = fieldsOf(command.SecureJSONData)
	live.Version++
	return ok(&models.UpdateDataSourceByIDOKBody{Datasource: live, ID: pointer(live.ID), Message: pointer("Datasource updated"), Name: pointer(live.Name)})
}

// Grafana returns no secrets, only which ones it has.
func fieldsOf(secrets map[string]string) map[string]bool {
	fields := map[string]bool{}
	for name := range secrets {
		fields[name] = true
	}
	return fields
}

func (s *state) legacyBoards(r *request) answer {
	if r.is("POST", "dashboards", "db") {
		var command models.SaveDashboardCommand
		if err := decode(r.body, &command); err != nil {
			return refusal(http.StatusBadRequest, err.Error())
		}
		return s.saveLegacyBoard(r, &command)
	}
	if len(r.path) != 3 || r.path[1] != "uid" {
		return notFound
	}
	uid := r.path[2]
	live := s.boards[uid]
	switch {
	case live == nil:
		return refusal(http.StatusNotFound, "Dashboard not found")
	case r.method == http.MethodGet:
		spec := copied(live.spec)
		spec["uid"], spec["id"], spec["version"] = uid, live.id, live.version
		meta := &models.DashboardMeta{Version: live.version, FolderUID: live.folder, Provisioned: live.provisioned,
			UpdatedBy: live.updatedBy, Updated: live.updated, URL: "/d/" + uid, Type: "db"}
		return ok(&models.DashboardFullWithMeta{Dashboard: spec, Meta: meta})
	case r.method == http.MethodDelete:
		if !r.may("dashboards:delete") {
			return denied("dashboards:delete")
		}
		if live.provisioned {
			return refusal(http.StatusBadRequest, "provisioned dashboard cannot be deleted")
		}
		delete(s.boards, uid)
		title, _ := live.spec["title"].(string)
		return ok(&models.DeleteDashboardByUIDOKBody{Message: pointer("Dashboard deleted"), Title: pointer(title), UID: pointer(uid)})
	default:
		return notFound
	}
}

func (s *state) saveLegacyBoard(r *request, command *models.SaveDashboardCommand) answer {
	spec, is := command.Dashboard.(map[string]any)
	if !is {
		return refusal(http.StatusBadRequest, "bad request data: dashboard is missing")
	}
	uid, _ := spec["uid"].(string)
	version, _ := spec["version"].(float64)
	if uid == "" {
		uid = fmt.Sprintf("b%d", s.nextID())
	}
	if fault := s.boardFault(uid, command.FolderUID, command.Message, spec); fault != "" {
		return refusal(http.StatusBadRequest, fault)
	}
	live := s.boards[uid]
	action := "dashboards:create"
	if live != nil {
		action = "dashboards:write"
	}
	if !r.may(action) {
		return denied(action)
	}
	if live != nil {
		s.editBetween(uid)
		if live.provisioned {
			return refusal(http.StatusBadRequest, "Cannot save provisioned dashboard")
		}
		if int64(version) != live.version && !command.Overwrite {
			return mismatch("The dashboard has been changed by someone else")
		}
	}
	saved := s.saveBoard(uid, command.FolderUID, r.user, spec)
	title, _ := spec["title"].(string)
	return ok(&models.PostDashboardOKBody{ID: pointer(saved.id), UID: pointer(uid), URL: pointer("/d/" + uid),
		Status: pointer("success"), Title: pointer(title), Version: pointer(saved.version), FolderUID: saved.folder})
}

// Why a dashboard cannot be stored, or nothing. Grafana itself stores fields that its schema does not have.
func (s *state) boardFault(uid, folder, message string, spec map[string]any) string {
	if fault := uidFault(uid); fault != "" {
		return fault
	}
	if len(message) > maxMessage {
		return fmt.Sprintf("message too long, max %d characters", maxMessage)
	}
	if folder != "" && s.folders[folder] == nil {
		return "folder not found"
	}
	if err := checkSpec(spec); err != nil {
		return "the dashboard does not follow the schema: " + err.Error()
	}
	return ""
}

func (s *state) editBetween(uid string) {
	if s.settings.EditsBetween > 0 {
		s.settings.EditsBetween--
		s.edit(uid)
	}
}
