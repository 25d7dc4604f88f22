package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// Checks dashboards of files: an unknown field, a field of another type or a missing required one is an error.
func check(files []string) int {
	code := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			err = checkDashboard(text)
		}
		if err != nil {
			fmt.Printf("FAILED foundation SDK: %s: %v\n", file, err)
			code = 1
			continue
		}
		fmt.Printf("ok foundation SDK: %s\n", file)
	}
	return code
}

// Strict decoding and the constraints of Grafana's schema.
func checkDashboard(text []byte) error {
	var decoded dashboard.Dashboard
	if err := strict(decoded.UnmarshalJSONStrict(text)); err != nil {
		return err
	}
	if decoded.Title == nil || *decoded.Title == "" {
		return errors.New("title: Dashboard title cannot be empty")
	}
	return decoded.Validate()
}

func checkSpec(spec map[string]any) error {
	text, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return checkDashboard(text)
}

// The SDK returns an empty list of errors in an interface, which is not nil.
func strict(err error) error {
	if err == nil || err.Error() == "" {
		return nil
	}
	return err
}
