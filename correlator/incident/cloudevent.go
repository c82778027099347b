// SPDX-License-Identifier: Apache-2.0

package incident

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"
)

const (
	// Type is the CloudEvents type of an incident; a change that breaks its
	// readers gets a new one.
	Type = "dev.renat.incident.v1"
	// SchemaURL is where the JSON Schema of the data is published.
	SchemaURL = "https://raw.githubusercontent.com/renat-project/renat/main/correlator/incident/incident.v1.schema.json"

	specVersion     = "1.0"
	dataContentType = "application/json"
)

// ErrNotIncident says that an event is well-formed but not one this version reads.
var ErrNotIncident = errors.New("not a " + Type + " event")

// envelope is the CloudEvents 1.0 JSON format, structured mode.
type envelope struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject,omitempty"`
	Time            time.Time       `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	DataSchema      string          `json:"dataschema,omitempty"`
	Data            json.RawMessage `json:"data"`
}

// MarshalCloudEvent encodes i as one line of CloudEvents JSON.
func (i *Incident) MarshalCloudEvent() ([]byte, error) {
	data, err := marshal(i)
	if err != nil {
		return nil, fmt.Errorf("encoding incident %s: %w", i.ID, err)
	}
	return marshal(envelope{
		SpecVersion:     specVersion,
		ID:              i.ID,
		Source:          "/renat/" + url.PathEscape(i.Cluster) + "/" + url.PathEscape(i.Node),
		Type:            Type,
		Subject:         i.Protocol + " " + i.Source.AddrPort().String() + " -> " + i.Destination.AddrPort().String(),
		Time:            i.Time,
		DataContentType: dataContentType,
		DataSchema:      SchemaURL,
		Data:            data,
	})
}

// marshal is json.Marshal for people and programs, not for HTML: "->" stays so.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// UnmarshalCloudEvent decodes what MarshalCloudEvent wrote. An event of
// another type or CloudEvents version gives an error that is ErrNotIncident;
// fields that this version does not know are ignored.
func UnmarshalCloudEvent(b []byte) (*Incident, error) {
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("decoding CloudEvent: %w", err)
	}
	if e.SpecVersion != specVersion || e.Type != Type {
		return nil, fmt.Errorf("event %q of type %q, specversion %q: %w", e.ID, e.Type, e.SpecVersion, ErrNotIncident)
	}
	if e.ID == "" {
		return nil, errors.New("decoding CloudEvent: id is empty")
	}
	i := &Incident{ID: e.ID}
	if err := json.Unmarshal(e.Data, i); err != nil {
		return nil, fmt.Errorf("decoding incident %q: %w", e.ID, err)
	}
	if i.Kind == "" || !i.Source.IP.IsValid() || !i.Destination.IP.IsValid() {
		return nil, fmt.Errorf("decoding incident %q: kind, source.ip or destination.ip is missing", e.ID)
	}
	return i, nil
}
