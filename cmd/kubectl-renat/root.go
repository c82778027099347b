// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/nodeview"
	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/internal/view/usage"
	"github.com/renat-project/renat/sinks/jetstream"
)

// agentNamespace is where the chart's documents install renat.
const agentNamespace = "renat"

// version is set by the linker for releases.
var version string

// plugin is what the commands share.
type plugin struct {
	out, errs io.Writer
	started   bool // a command runs: what fails before is wrong usage

	kube  *genericclioptions.ConfigFlags
	nats  jetstream.Config
	color string

	namespace string // of the agents
	agent     kind
	hub       kind
	timeout   time.Duration
	// nodeSelector chooses the nodes that an agent should watch.
	nodeSelector string

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
pods/proxy in the agents' namespace and, for advise, to get Cilium's ConfigMap.
Who may list nodes sees those without an agent, too.`,
		Example: `  kubectl renat status
  kubectl renat nodes --fail-on breaking
  kubectl renat incidents --since 1h --group-by workload
  kubectl renat advise --explain`,
		Version:       nodeview.BuildVersion(version),
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return render.CheckColor(p.color)
		},
	}
	root.SetVersionTemplate("kubectl-renat {{.Version}}\n")
	root.SetOut(p.out)
	root.SetErr(p.errs)
	f := root.PersistentFlags()
	p.kube.AddFlags(f)
	f.StringVar(&p.namespace, "agent-namespace", agentNamespace, "namespace in which renat's agents run")
	p.agent.register(f, "agent", 9969)
	p.hub.register(f, "hub", 9972)
	f.StringVar(&p.nodeSelector, "node-selector", "kubernetes.io/os=linux", "labels of the nodes on which an agent should run: those without are blind")
	f.DurationVar(&p.timeout, "agent-timeout", fleet.DefaultTimeout, "how long each agent may take to answer; ten times that to read its maps (top)")
	usage.NATS(f, &p.nats, "", "show what NATS knows, instead of asking the agents; several separated by commas")
	f.StringVar(&p.color, "color", "auto", "colour the output: auto, always, never")
	usage.Complete(root, "color", render.ColorModes...)
	root.SetUsageTemplate(withoutGlobals(root.UsageTemplate()))
	root.AddCommand(p.options(), p.status(), p.sysdump(), p.nodes(), p.incidents(), p.describe(), p.advise(), p.top(), p.atRisk(), p.trace(),
		nodeview.NewVersion("kubectl-renat", "kubectl renat", nodeview.BuildVersion(version)))
	usage.OnStart(root, func() { p.started = true })
	return root
}

// withoutGlobals is cobra's template of a command's usage without the flags that all
// commands have, which options shows, as kubectl does.
func withoutGlobals(template string) string {
	const (
		global = `{{if .HasAvailableInheritedFlags}}`
		local  = `{{if .HasAvailableLocalFlags}}`
	)
	before, after, _ := strings.Cut(template, global)
	_, after, _ = strings.Cut(after, `{{end}}`)
	before = strings.Replace(before, local, `{{if and .HasParent .HasAvailableLocalFlags}}`, 1)
	return before + after + `
Use "kubectl renat options" for the flags that all commands have.
`
}

// options shows the flags that all commands have.
func (p *plugin) options() *cobra.Command {
	return &cobra.Command{
		Use:     "options",
		Short:   "Show the flags that all commands have",
		Example: "  kubectl renat options",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(p.out, "These flags may be given to all commands:\n\n%s", cmd.InheritedFlags().FlagUsages())
			return err
		},
	}
}

// inNamespace lets -n name the agents' namespace, for commands that show nothing of
// other namespaces.
func (p *plugin) inNamespace(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&p.namespace, "namespace", "n", agentNamespace, "namespace in which renat runs, as --agent-namespace")
}

// register makes flags of how a kind is found.
func (k *kind) register(f *pflag.FlagSet, name string, port uint16) {
	k.name = name
	f.StringVar(&k.selector, name+"-selector", "app.kubernetes.io/name=renat,app.kubernetes.io/component="+name, "labels of the "+name+"s' pods")
	f.Uint16Var(&k.port, name+"-port", port, "port on which the "+name+"s serve HTTP (--listen)")
	f.BoolVar(&k.tls, name+"-tls", false, "the "+name+"s serve HTTPS (--http-tls-cert-file); the API server does not check their certificates")
}

// screen is where a command writes.
func (p *plugin) screen() *nodeview.Screen { return nodeview.NewScreen(p.out, p.errs, p.color) }
