// SPDX-License-Identifier: Apache-2.0

package jetstream_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/jetstream"
)

func TestStreamDefaults(t *testing.T) {
	nc := embed(t)
	if err := newPublisher(t, nc, jetstream.PublisherConfig{}).Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := stream(t, nc).CachedInfo().Config
	if c.Storage != natsjs.FileStorage || c.Discard != natsjs.DiscardOld || c.MaxAge != jetstream.DefaultMaxAge ||
		c.MaxBytes != jetstream.DefaultMaxBytes || c.Duplicates != jetstream.DefaultDuplicates ||
		!slices.Equal(c.Subjects, []string{incident.AllSubjects}) {
		t.Errorf("created as %+v", c)
	}
}

func TestWindowFitsShortAge(t *testing.T) {
	nc := embed(t)
	p := newPublisher(t, nc, jetstream.PublisherConfig{Stream: jetstream.StreamConfig{MaxAge: time.Minute}})
	if err := p.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestOperatorsStreamIsKept(t *testing.T) {
	for name, c := range map[string]struct{ has, want []string }{
		"ours":     {[]string{incident.AllSubjects}, []string{incident.AllSubjects}},
		"wider":    {[]string{"renat.>"}, []string{"renat.>"}},
		"wildcard": {[]string{"renat.*.v1.>"}, []string{"renat.*.v1.>"}},
		"other":    {[]string{"audit"}, []string{"audit", incident.AllSubjects}},
		"narrower": {[]string{"renat.incidents.v1.renat.>", "audit.>"}, []string{"audit.>", incident.AllSubjects}},
		"longer":   {[]string{"renat.incidents.v1.*.*.*"}, []string{incident.AllSubjects}},
		"shorter":  {[]string{"renat.incidents"}, []string{"renat.incidents", incident.AllSubjects}},
	} {
		t.Run(name, func(t *testing.T) {
			nc := embed(t)
			js, err := natsjs.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			s, err := js.CreateStream(t.Context(), natsjs.StreamConfig{
				Name: jetstream.Stream, Subjects: c.has, MaxBytes: 12_345_678, MaxAge: time.Hour,
				Duplicates: time.Minute, Description: "mine", Discard: natsjs.DiscardNew,
			})
			if err != nil {
				t.Fatal(err)
			}
			want := s.CachedInfo().Config
			want.Subjects = c.want
			send(t, newPublisher(t, nc, jetstream.PublisherConfig{}), 0, 1)
			if got := stream(t, nc).CachedInfo().Config; !reflect.DeepEqual(got, want) {
				t.Errorf("the stream became %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestStreamErrorsSayWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		spoil natsjs.StreamConfig
		want  string
	}{
		"subjects taken": {natsjs.StreamConfig{Name: "THEIRS", Subjects: []string{"renat.incidents.v1.*.prod.>"}}, "stream THEIRS"},
		"no acks":        {natsjs.StreamConfig{Name: jetstream.Stream, Subjects: []string{"x"}, NoAck: true}, "cannot take incidents"},
		"mirror":         {natsjs.StreamConfig{Name: jetstream.Stream, Mirror: &natsjs.StreamSource{Name: "OTHER"}}, "cannot take incidents"},
	} {
		t.Run(name, func(t *testing.T) {
			nc := embed(t)
			js, err := natsjs.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := js.CreateStream(t.Context(), c.spoil); err != nil {
				t.Fatal(err)
			}
			_, err = newPublisher(t, nc, jetstream.PublisherConfig{}).Send(t.Context(), sample(0))
			if err == nil || jetstream.Permanent(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Send = %v", err)
			}
		})
	}
}

func TestJetStreamOff(t *testing.T) {
	s := startNATS(t, &natsserver.Options{})
	nc := connect(t, jetstream.Config{URL: s.ClientURL()})
	_, err := newPublisher(t, nc, jetstream.PublisherConfig{}).Send(t.Context(), sample(0))
	if err == nil || !strings.Contains(err.Error(), "JetStream on") {
		t.Errorf("Send = %v", err)
	}
	err = jetstream.Read(t.Context(), nc, jetstream.ReadOptions{Follow: true}, nil)
	if err == nil || !strings.Contains(err.Error(), "JetStream on") {
		t.Errorf("Read = %v", err)
	}
}
