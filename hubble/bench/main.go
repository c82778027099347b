// SPDX-License-Identifier: Apache-2.0

// Bench measures what reading a stream of Hubble flows costs its reader. One
// server, in a process of its own, serves the same recorded flows to each kind
// of reader in turn, every one in a process of its own; the CPU time that the
// kernel charged to it is divided by the number of flows.
//
//	go run ./hubble/bench [-n 300000] [-runs 3] [-cli PATH] [-flows FILE.jsonl[.gz]]
//
// With -cli the stock hubble command is measured too.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	n := flag.Int("n", 300_000, "flows to stream")
	runs := flag.Int("runs", 3, "runs of each reader; the median counts")
	cli := flag.String("cli", "", "the stock hubble command, to compare with")
	flows := flag.String("flows", "hubble/testdata/cilium-1.20.2.jsonl", "recorded flows to repeat")
	role := flag.String("role", "", "what this process does: serve, or a reader's name (set by bench itself)")
	addr := flag.String("addr", "", "the server's address (set by bench itself)")
	flag.Parse()
	var err error
	switch *role {
	case "":
		err = compare(*n, *runs, *cli, *flows)
	case "serve":
		err = serve(*n, *flows)
	default:
		err = read(*role, *addr, *n)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// compare prints a table of all readers.
func compare(n, runs int, cli, flows string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	server := exec.Command(self, "-role", "serve", "-n", strconv.Itoa(n), "-flows", flows)
	server.Stderr = os.Stderr
	stdin, err := server.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return fmt.Errorf("starting the server: %w", err)
	}
	defer func() { _ = stdin.Close(); _ = server.Wait() }() // it ends with its input
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return errors.New("the server did not start")
	}
	addr = strings.TrimSpace(addr)
	type contender struct {
		name string
		args []string
	}
	var all []contender
	for _, r := range readers {
		all = append(all, contender{r.about, []string{self, "-role", r.name, "-addr", addr, "-n", strconv.Itoa(n)}})
	}
	if cli != "" {
		for _, o := range []string{"json", "compact"} {
			all = append(all, contender{"stock CLI, -o " + o, []string{cli, "observe", "--server", addr, "--first", strconv.Itoa(n), "-o", o}})
		}
	}
	for _, c := range all {
		var costs []time.Duration
		for range runs {
			cmd := exec.Command(c.args[0], c.args[1:]...) // its output goes to the null device
			cmd.Stderr = os.Stderr
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			costs = append(costs, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
		}
		slices.Sort(costs)
		us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(n) }
		fmt.Printf("%-52s %6.2f µs/flow (%.2f..%.2f)\n", c.name, us(costs[len(costs)/2]), us(costs[0]), us(costs[len(costs)-1]))
	}
	return nil
}
