// SPDX-License-Identifier: Apache-2.0

package recording

import "google.golang.org/protobuf/reflect/protoreflect"

// texts says what becomes of each text field of Hubble's API that does not
// just go.
func (r *Redactor) texts(field protoreflect.FullName) func(string) string {
	switch field {
	case "flow.Flow.uuid", "flow.Emitter.name", "flow.Emitter.version", "flow.FileInfo.name":
		return func(s string) string { return s }
	case "flow.Flow.Summary":
		return summary
	case "flow.IP.source", "flow.IP.source_xlated", "flow.IP.destination":
		return r.address
	case "flow.Endpoint.namespace", "flow.Service.namespace", "flow.Policy.namespace":
		return r.named("namespace")
	case "flow.Endpoint.cluster_name":
		return r.named("cluster")
	case "flow.Endpoint.pod_name":
		return r.named("pod")
	case "flow.Endpoint.labels", "flow.Flow.node_labels", "flow.Policy.labels":
		return r.label
	case "flow.Workload.name":
		return r.named("workload")
	case "flow.Workload.kind":
		return r.workloadKind
	case "flow.Service.name":
		return r.named("service")
	case "flow.Policy.name":
		return r.named("policy")
	case "flow.Flow.source_names", "flow.Flow.destination_names":
		return r.named("name")
	case "flow.Flow.node_name", "observer.GetFlowsResponse.node_name", "relay.NodeStatusEvent.node_names":
		return r.node
	}
	return nil
}

// message redacts a message and those inside it.
func (r *Redactor) message(m protoreflect.Message) {
	m.SetUnknown(nil)
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap(): // there is none yet
			m.Clear(fd)
		case fd.Kind() == protoreflect.StringKind:
			r.text(m, fd, v)
		case fd.Kind() == protoreflect.BytesKind, fd.Kind() == protoreflect.GroupKind:
			m.Clear(fd)
		case fd.Kind() != protoreflect.MessageKind: // a number
		case fd.Message().FullName() == "google.protobuf.Any":
			m.Clear(fd)
		case fd.IsList():
			for i := range v.List().Len() {
				r.message(v.List().Get(i).Message())
			}
		default:
			r.message(v.Message())
		}
		return true
	})
}

// text redacts a field of text or a list of them.
func (r *Redactor) text(m protoreflect.Message, fd protoreflect.FieldDescriptor, v protoreflect.Value) {
	replace := r.texts(fd.FullName())
	switch {
	case replace == nil:
		m.Clear(fd)
	case fd.IsList():
		for i, list := 0, v.List(); i < list.Len(); i++ {
			list.Set(i, protoreflect.ValueOfString(replace(list.Get(i).String())))
		}
	default:
		m.Set(fd, protoreflect.ValueOfString(replace(v.String())))
	}
}
