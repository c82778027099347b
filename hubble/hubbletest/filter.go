// SPDX-License-Identifier: Apache-2.0

package hubbletest

import (
	"fmt"
	"slices"

	"github.com/cilium/cilium/api/v1/flow"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
)

type match func(*flow.Flow) bool

// newFilter joins a request's filters: a flow passes if it matches one of the
// whitelist, or that is empty, and none of the blacklist.
func newFilter(whitelist, blacklist []*flow.FlowFilter) (match, error) {
	white, err := matches(whitelist)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "whitelist: %v", err)
	}
	black, err := matches(blacklist)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "blacklist: %v", err)
	}
	return func(f *flow.Flow) bool {
		return (len(white) == 0 || anyOf(white)(f)) && !anyOf(black)(f)
	}, nil
}

func matches(filters []*flow.FlowFilter) (out []match, err error) {
	for _, ff := range filters {
		m, err := allOf(ff)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

func anyOf(ms []match) match {
	return func(f *flow.Flow) bool {
		return slices.ContainsFunc(ms, func(m match) bool { return m(f) })
	}
}

// allOf matches flows that match every field set in a filter.
func allOf(ff *flow.FlowFilter) (match, error) {
	if len(ff.ProtoReflect().GetUnknown()) > 0 {
		return nil, fmt.Errorf("a filter has fields that this server does not know")
	}
	var ms []match
	var err error
	ff.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		build, known := fields[fd.Name()]
		if !known {
			err = fmt.Errorf("this server does not know the filter %s", fd.Name())
			return false
		}
		var m match
		if m, err = build(ff); err != nil {
			err = fmt.Errorf("filter %s: %w", fd.Name(), err)
			return false
		}
		ms = append(ms, m)
		return true
	})
	return func(f *flow.Flow) bool {
		return !slices.ContainsFunc(ms, func(m match) bool { return !m(f) })
	}, err
}
