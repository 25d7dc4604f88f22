package main

import (
	"encoding/json"
	"net/http"
	"strings"
)

// What tests read and set, below `/control`. It is no part of Grafana.
//
//	GET state               folders, data sources and dashboards by uid
//	POST requests           method and path of each request but health calls since the last call, and their credentials
//	POST settings           replaces the given ones of `settings`
//	POST edit/<uid>         a user saves this dashboard again
//	POST provisioned        `{"value": true}`: all dashboards and data sources come from files
//	POST dashboard/<uid>    `{"folder": "", "spec": {}}`: another user's dashboard
//	POST clear              the storage is empty, as after a pod was replaced
func (s *state) control(method, path string, body []byte) answer {
	name, uid, _ := strings.Cut(path, "/")
	switch method + " " + name {
	case "GET state":
		return ok(s.dump())
	case "POST requests":
		taken := map[string]any{"requests": listed(s.requests), "authorizations": listed(s.authorizations)}
		s.requests, s.authorizations = nil, nil
		return ok(taken)
	case "POST settings":
		if err := decode(body, &s.settings); err != nil {
			return refusal(http.StatusBadRequest, err.Error())
		}
	case "POST edit":
		s.edit(uid)
	case "POST provisioned":
		var given struct{ Value bool }
		if err := json.Unmarshal(body, &given); err != nil {
			return refusal(http.StatusBadRequest, err.Error())
		}
		for _, one := range s.boards {
			one.provisioned = given.Value
		}
		for _, one := range s.sources {
			one.ReadOnly = given.Value
		}
	case "POST dashboard":
		var given struct {
			Folder string         `json:"folder"`
			Spec   map[string]any `json:"spec"`
		}
		if err := decode(body, &given); err != nil {
			return refusal(http.StatusBadRequest, err.Error())
		}
		s.saveBoard(uid, given.Folder, "ann", given.Spec)
	case "POST clear":
		kept := s.settings
		*s = *newState()
		s.settings = kept
	default:
		return refusal(http.StatusNotFound, "no such control")
	}
	return ok(map[string]any{})
}

func (s *state) dump() map[string]any {
	folders, boards := map[string]any{}, map[string]any{}
	for uid, one := range s.folders {
		folders[uid] = map[string]any{"title": one.title, "version": one.version, "shared": one.shared}
	}
	for uid, one := range s.boards {
		boards[uid] = map[string]any{"spec": one.spec, "folder": one.folder, "version": one.version,
			"updated_by": one.updatedBy, "provisioned": one.provisioned}
	}
	return map[string]any{"folders": folders, "sources": s.sources, "dashboards": boards}
}

func listed(all []string) []string {
	if all == nil {
		return []string{}
	}
	return all
}
