// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	view "github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/nodeview"
)

// Plugin is what kubectl renat nodes took.
type Plugin struct {
	Took  time.Duration
	Nodes int
}

// String is for people.
func (p Plugin) String() string {
	return fmt.Sprintf("%v, %d nodes", short(p.Took), p.Nodes)
}

// askPlugin runs kubectl renat nodes -o json.
func askPlugin(ctx context.Context, src view.Source) (Plugin, error) {
	var verb nodeview.Nodes
	cmd := &cobra.Command{}
	verb.Register(cmd)
	if err := cmd.ParseFlags([]string{"-o", "json"}); err != nil {
		return Plugin{}, err
	}
	var out, errs bytes.Buffer
	began := time.Now()
	if err := verb.Run(ctx, src, &nodeview.Screen{Out: &out, Err: &errs}); err != nil {
		return Plugin{}, fmt.Errorf("%w: %s", err, errs.String())
	}
	p := Plugin{Took: time.Since(began)}
	var listed struct{ Nodes []struct{ Node string } }
	if err := json.Unmarshal(out.Bytes(), &listed); err != nil {
		return p, err
	}
	p.Nodes = len(listed.Nodes)
	return p, nil
}

// pluginOfNATS asks NATS, as with --nats-url.
func pluginOfNATS(ctx context.Context, c *Config, nc *nats.Conn) (Plugin, error) {
	return askPlugin(ctx, &view.NATS{Conn: nc, Log: c.Log})
}

// pluginOfAgents asks every node. What answers for them is one server here: of
// agents and an API server only the protocol is there.
func pluginOfAgents(ctx context.Context, nodes []*node) (Plugin, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return Plugin{}, err
	}
	mux := http.NewServeMux()
	var agents []view.Agent
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	for k, n := range nodes {
		path := fmt.Sprintf("/node/%d", k)
		mux.HandleFunc("GET "+path+"/v1/status", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(n.status()) // who asked has gone
		})
		a, err := view.NewHTTPAgent("http://" + l.Addr().String() + path)
		if err != nil {
			return Plugin{}, err
		}
		a.Client = client
		agents = append(agents, a)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(l) }() // ends when it is closed
	defer server.Close()
	return askPlugin(ctx, &view.Agents{List: func(context.Context) ([]view.Agent, error) { return agents, nil }})
}

// indent puts a list below a line.
func indent(lines []string) string { return "\n  " + strings.Join(lines, "\n  ") }
