package main

import (
	"context"
	"io"
	"net/url"

	"github.com/cloudevents/sdk-go/v2/binding/format"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/nats-io/nats.go"
)

// writer is the SDK's binding.StructuredWriter and binding.BinaryWriter for a NATS message.
type writer struct{ message *nats.Msg }

func (w *writer) SetStructuredEvent(_ context.Context, format format.Format, event io.Reader) (err error) {
	w.message.Header.Set("Content-Type", format.MediaType())
	w.message.Data, err = io.ReadAll(event)
	return err
}

func (w *writer) Start(context.Context) error { return nil }
func (w *writer) End(context.Context) error   { return nil }

func (w *writer) SetAttribute(attribute spec.Attribute, value any) error {
	if attribute.Kind() == spec.DataContentType {
		return w.set("Content-Type", value, func(text string) string { return text })
	}
	return w.set("ce-"+attribute.Name(), value, url.PathEscape)
}

func (w *writer) SetExtension(name string, value any) error {
	return w.set("ce-"+name, value, url.PathEscape)
}

func (w *writer) SetData(data io.Reader) (err error) {
	w.message.Data, err = io.ReadAll(data)
	return err
}

func (w *writer) set(header string, value any, encode func(string) string) error {
	if value == nil {
		return nil
	}
	text, err := types.Format(value)
	if err == nil {
		w.message.Header.Set(header, encode(text))
	}
	return err
}
