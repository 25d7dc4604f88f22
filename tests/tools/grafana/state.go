package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/go-openapi/strfmt"
	"github.com/grafana/grafana-openapi-client-go/models"
)

const (
	grafanaVersion = "12.4.0"
	// The newest version of the classic schema; Grafana migrates what it stores.
	latestSchema = 42
	// Grafana's limits of identifiers and of the message of a version.
	maxUID     = 40
	maxMessage = 500
)

type board struct {
	spec        map[string]any
	folder      string
	id          int64
	version     int64 // of /api; `generation` of /apis
	revision    int64 // `resourceVersion` of /apis
	updatedBy   string
	updated     strfmt.DateTime
	provisioned bool
}

type folder struct {
	title, description, parent string
	id, version, revision      int64
	// Whether others than administrators see it: /apis asks for that by an annotation.
	shared bool
}

type account struct {
	Token    string `json:"token"`
	User     string `json:"user"`
	Password string `json:"password"`
	Role     string `json:"role"`
}

// What a test sets. The zero value is a Grafana below 12, where everyone may do everything.
type settings struct {
	// Role of requests without a credential; "None" refuses them. Administrator when empty.
	Anonymous string    `json:"anonymous"`
	Accounts  []account `json:"accounts"`
	// Versions of the groups `dashboard.grafana.app` and `folder.grafana.app` that `/apis` offers.
	Apis []string `json:"apis"`
	// Of the organization; `default` when empty.
	Namespace string `json:"namespace"`
	OrgID     int64  `json:"org_id"`
	// Number of further writes that are executed and whose answer is lost.
	LoseAnswers int `json:"lose_answers"`
	// Another user edits a dashboard just before so many writes to an existing one.
	EditsBetween int `json:"edits_between"`
	// Number of further requests that are answered with `fail_status` and not executed.
	Fail       int `json:"fail"`
	FailStatus int `json:"fail_status"`
	// Delay of each answer, milliseconds.
	SlowMs int `json:"slow_ms"`
	// No settings of the web pages, as behind a proxy that serves only some paths.
	HideSettings bool `json:"hide_settings"`
	// Answer every request with HTTP 200 and a page, as a login page does.
	HTML bool `json:"html"`
	// Each page of a list of dashboards below `/apis` has a token for another page: `empty` pages without dashboards, or
	// the first page `again`.
	Endless string `json:"endless"`
	// Answer unknown paths, `/apis` included, with HTTP 200 and a page, as a reverse proxy in front of Grafana may do.
	HTMLForUnknown bool `json:"html_for_unknown"`
}

type state struct {
	settings       settings
	folders        map[string]*folder
	sources        map[string]*models.DataSource
	boards         map[string]*board
	requests       []string
	authorizations []string
	lastID         int64
	lastRevision   int64
}

func newState() *state {
	return &state{folders: map[string]*folder{}, sources: map[string]*models.DataSource{}, boards: map[string]*board{}, lastRevision: 1758777451428000}
}

func (s *state) nextID() int64 {
	s.lastID++
	return s.lastID
}

func (s *state) nextRevision() int64 {
	s.lastRevision++
	return s.lastRevision
}

func (s *state) namespace() string {
	if s.settings.Namespace == "" {
		return "default"
	}
	return s.settings.Namespace
}

// A user saves a dashboard again.
func (s *state) edit(uid string) {
	one := s.boards[uid]
	if one == nil {
		return
	}
	one.version++
	one.revision = s.nextRevision()
	one.updatedBy = "ann"
	if panels, _ := one.spec["panels"].([]any); len(panels) > 0 {
		panels[0].(map[string]any)["title"] = "ann's"
	}
}

// Stores a dashboard as Grafana does: it removes what is metadata, and migrates.
func (s *state) saveBoard(uid, folder, by string, spec map[string]any) *board {
	one := s.boards[uid]
	if one == nil {
		one = &board{id: s.nextID()}
		s.boards[uid] = one
	}
	for _, field := range []string{"id", "uid", "version"} {
		delete(spec, field)
	}
	spec["schemaVersion"] = latestSchema
	spec["graphTooltip"] = 0
	panels, _ := spec["panels"].([]any)
	for _, panel := range panels {
		if panel, ok := panel.(map[string]any); ok {
			panel["pluginVersion"] = grafanaVersion
		}
	}
	one.spec, one.folder, one.updatedBy = spec, folder, by
	one.version++
	one.revision = s.nextRevision()
	one.updated = strfmt.DateTime(time.Date(2026, 11, 28, 16, 0, 0, 0, time.UTC))
	return one
}

func (s *state) boardsIn(folder string) int64 {
	var count int64
	for _, one := range s.boards {
		if one.folder == folder {
			count++
		}
	}
	return count
}

// Deletes a folder with its dashboards, as Grafana does.
func (s *state) deleteFolder(uid string) {
	for name, one := range s.boards {
		if one.folder == uid {
			delete(s.boards, name)
		}
	}
	delete(s.folders, uid)
}

func copied(spec map[string]any) map[string]any {
	text, _ := json.Marshal(spec)
	var same map[string]any
	_ = json.Unmarshal(text, &same)
	return same
}

func revision(number int64) string {
	return strconv.FormatInt(number, 10)
}

func pointer[T any](value T) *T {
	return &value
}

// Why a uid cannot be used, or nothing. Source: `ValidateUID` and `IsShortUIDTooLong` of grafana/grafana, pkg/util.
func uidFault(uid string) string {
	if uid == "" {
		return "uid is missing"
	}
	if len(uid) > maxUID {
		return fmt.Sprintf("uid too long, max %d characters", maxUID)
	}
	for _, c := range uid {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return "uid contains illegal characters"
		}
	}
	return ""
}
