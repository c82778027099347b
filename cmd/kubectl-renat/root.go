// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/nodeview"
	"github.com/renat-project/renat/sinks/jetstream"
)

// plugin is what the commands share.
type plugin struct {
	out, errs io.Writer
	started   bool // a command runs: what fails before is wrong usage

	kube  *genericclioptions.ConfigFlags
	nats  jetstream.Config
	color string

	namespace string // of the agents
	selector  string
	port      uint16
	tls       bool
	timeout   time.Duration

	ciliumNamespace, ciliumConfig string
}

func newPlugin(out, errs io.Writer) *plugin {
	kube := genericclioptions.NewConfigFlags(true)
	// --namespace and --cluster choose incidents here.
	kube.Namespace, kube.ClusterName = nil, nil
	return &plugin{out: out, errs: errs, kube: kube}
}

func (p *plugin) root() *cobra.Command {
	root := &cobra.Command{
		Use:         "kubectl-renat",
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl renat"},
		Short:       "Show which nodes evict connections from Cilium's NAT map, whom it hurts, and which size stops it",
		Long: `Show which nodes evict connections from Cilium's NAT map, whom it hurts, and
which size of the map stops it. renat's agents run on the nodes; they are reached
through the API server's proxy to pods, so they must listen on their pods'
addresses and trust the API server:

  renat agent --listen :9969 --http-user-header X-Forwarded-For --http-trusted-proxies NETWORK

With --nats-url what they told NATS is shown instead.

It changes nothing. To use it, you need the right to list pods and to get
pods/proxy in the agents' namespace and, for advise, to get Cilium's ConfigMap.`,
		Example: `  kubectl renat nodes
  kubectl renat nodes --fail-on breaking
  kubectl renat incidents --since 1h --group-by workload
  kubectl renat advise --explain`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			switch p.color {
			case "auto", "always", "never":
				return nil
			}
			return fmt.Errorf("--color %q is not one of auto, always, never", p.color)
		},
	}
	root.SetOut(p.out)
	root.SetErr(p.errs)
	f := root.PersistentFlags()
	p.kube.AddFlags(f)
	f.StringVar(&p.namespace, "agent-namespace", "renat", "namespace in which renat's agents run")
	f.StringVar(&p.selector, "agent-selector", "app.kubernetes.io/name=renat,app.kubernetes.io/component=agent", "labels of the agents' pods")
	f.Uint16Var(&p.port, "agent-port", 9969, "port on which the agents serve HTTP (--listen)")
	f.BoolVar(&p.tls, "agent-tls", false, "the agents serve HTTPS (--http-tls-cert-file); the API server does not check their certificates")
	f.DurationVar(&p.timeout, "agent-timeout", fleet.DefaultTimeout, "how long each agent may take to answer")
	f.StringVar(&p.nats.URL, "nats-url", "", "show what NATS knows, instead of asking the agents; several separated by commas")
	f.StringVar(&p.nats.Creds, "nats-creds", "", "file with NATS credentials (JWT and seed)")
	f.StringVar(&p.nats.CA, "nats-tls-ca-cert-file", "", "file with the certificate authority of the NATS server")
	f.StringVar(&p.nats.Cert, "nats-tls-client-cert-file", "", "file with the client certificate for NATS")
	f.StringVar(&p.nats.Key, "nats-tls-client-key-file", "", "file with the key of the client certificate for NATS")
	f.StringVar(&p.color, "color", "auto", "colour the output: auto, always, never")
	_ = root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	root.AddCommand(p.nodes(), p.incidents(), p.describe(), p.advise(), p.top(), p.version())
	return root
}

// screen is where a command writes.
func (p *plugin) screen() *nodeview.Screen {
	f, ok := p.out.(*os.File)
	terminal := ok && isatty.IsTerminal(f.Fd())
	colored := terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return &nodeview.Screen{
		Out: p.out, Err: p.errs, Terminal: terminal,
		Colored: p.color == "always" || p.color == "auto" && colored,
	}
}
