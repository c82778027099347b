// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
)

// roleVariable has what a child is to be; its presence makes a process one.
const roleVariable = "RENAT_FLEET_ROLE"

// role is what a child is to be: one of its pointers is set.
type role struct {
	Server *serverRole `json:",omitempty"`
	Hub    *hubRole    `json:",omitempty"`
	// Profile, if not empty, is the file for a profile of its CPU time.
	Profile string `json:",omitempty"`
}

// Child makes of this process what Run started it to be, and ends it then.
// It returns if Run did not.
func Child() {
	raw := os.Getenv(roleVariable)
	if raw == "" {
		return
	}
	if err := play([]byte(raw)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// play runs until standard input ends, as it does when the parent does.
func play(raw []byte) error {
	var r role
	if err := json.Unmarshal(raw, &r); err != nil {
		return err
	}
	if r.Profile != "" {
		f, err := os.Create(r.Profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	ready := func(addresses ...string) { fmt.Println(strings.Join(addresses, " ")) }
	switch {
	case r.Server != nil:
		return r.Server.play(ctx, ready)
	case r.Hub != nil:
		return r.Hub.play(ctx, ready)
	}
	return errors.New("a role is empty")
}

// child is a process that Run started.
type child struct {
	name      string
	addresses []string
	cmd       *exec.Cmd
	stdin     io.Closer
	use       usage
	once      sync.Once
}

// spawn starts a child and returns when it is ready.
func spawn(ctx context.Context, c *Config, name string, r role) (*child, error) {
	if c.Profiles != "" {
		r.Profile = filepath.Join(c.Profiles, name+".cpu")
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(c.Dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &child{name: name, cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), roleVariable+"="+string(raw))
	p.cmd.Stderr = log
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	abort := context.AfterFunc(ctx, p.kill)
	defer abort()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("%s did not start, see %s: %w", name, log.Name(), err)
	}
	p.addresses = strings.Fields(line)
	p.use.look(p.cmd.Process.Pid)
	return p, nil
}

// kill ends it at once.
func (p *child) kill() { p.end(func() { _ = p.cmd.Process.Signal(syscall.SIGKILL) }) }

// stop lets it end by itself.
func (p *child) stop() { p.end(func() { p.stdin.Close() }) }

func (p *child) end(how func()) {
	p.once.Do(func() {
		p.use.look(p.cmd.Process.Pid)
		how()
		_ = p.cmd.Wait() // says that it was killed
	})
}
