// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	goversion "go/version"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

const dockerfile = "../../../deploy/Dockerfile"

// dockerImage is what a Dockerfile says of the image.
type dockerImage struct {
	runs       []string // shell commands of the stage that builds
	files      []string // that are copied into the image, sorted
	user       string
	entrypoint []string
	labels     map[string]string
	problems   []string
}

func readDockerfile(t *testing.T, args map[string]string) dockerImage {
	t.Helper()
	source, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	return parseDockerfile(string(source), args)
}

// parseDockerfile reads a Dockerfile as BuildKit does, with its linter.
func parseDockerfile(source string, args map[string]string) dockerImage {
	d := dockerImage{labels: map[string]string{}}
	problem := func(format string, args ...any) { d.problems = append(d.problems, fmt.Sprintf(format, args...)) }
	parsed, err := parser.Parse(strings.NewReader(source))
	if err != nil {
		problem("%v", err)
		return d
	}
	for _, w := range parsed.Warnings {
		problem("%s", w.Short)
	}
	stages, _, err := instructions.Parse(parsed.AST, linter.New(&linter.Config{
		Warn: func(rule, _, _, message string, _ []parser.Range) { problem("%s: %s", rule, message) },
	}))
	if err != nil {
		problem("%v", err)
		return d
	}
	if len(stages) != 2 {
		problem("%d stages, want one to build and the image's own", len(stages))
		return d
	}
	for _, stage := range stages {
		if !strings.HasPrefix(stage.BaseName, "${") {
			problem("the base %s is no argument", stage.BaseName)
		}
	}
	for _, c := range stages[0].Commands {
		if run, ok := c.(*instructions.RunCommand); ok {
			d.runs = append(d.runs, strings.Join(run.CmdLine, " "))
		}
	}
	d.problems = append(d.problems, d.image(stages[1].Commands, args)...)
	return d
}

// image reads the commands of the image's own stage.
func (d *dockerImage) image(commands []instructions.Command, args map[string]string) (problems []string) {
	var env []string
	for name, value := range args {
		env = append(env, name+"="+value)
	}
	for _, c := range commands {
		switch c := c.(type) {
		case *instructions.CopyCommand:
			for _, from := range c.SourcePaths {
				to := c.DestPath
				if strings.HasSuffix(to, "/") {
					to += path.Base(from)
				}
				d.files = append(d.files, strings.TrimPrefix(to, "/"))
			}
		case *instructions.LabelCommand:
			for _, l := range c.Labels {
				value, _, err := shell.NewLex('\\').ProcessWord(l.Value, shell.EnvsFromSlice(env))
				if err != nil {
					problems = append(problems, err.Error())
				}
				d.labels[strings.Trim(l.Key, `"`)] = value
			}
		case *instructions.UserCommand:
			d.user = c.User
		case *instructions.EntrypointCommand:
			d.entrypoint = c.CmdLine
			if c.PrependShell {
				problems = append(problems, "the entrypoint needs a shell, which the image does not have")
			}
		case *instructions.ArgCommand:
		default:
			problems = append(problems, c.Name()+" in the image's own stage, which has no shell and takes nothing from elsewhere")
		}
	}
	if d.user != "65532:65532" {
		problems = append(problems, "the image runs as "+d.user)
	}
	for _, file := range []string{"etc/ssl/certs/ca-certificates.crt", "usr/bin/renat", "usr/share/doc/renat/LICENSE"} {
		if !slices.Contains(d.files, file) {
			problems = append(problems, "the image lacks "+file)
		}
	}
	slices.Sort(d.files)
	return problems
}

// The Dockerfile has no problem; others, each with one change, have.
func TestDockerfile(t *testing.T) {
	content, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	source := string(content)
	for _, p := range parseDockerfile(source, nil).problems {
		t.Error(p)
	}
	for _, c := range []struct{ old, new, want string }{
		{"COPY . .", "COPPY . .", "unknown instruction: COPPY"},
		{"AS build", "as build", "FromAsCasing"},
		{"WORKDIR /src", "MAINTAINER me", "MaintainerDeprecated"},
		{"USER 65532:65532\n", "", "the image runs as "},
		{"USER 65532:65532", "USER root", "the image runs as root"},
		{`["/usr/bin/renat"]`, "/usr/bin/renat", "needs a shell"},
		{"USER", "RUN true\nUSER", "RUN in the image's own stage"},
		{"USER", "ADD https://example.com/x /x\nUSER", "ADD in the image's own stage"},
		{"/src/out/renat /usr/bin/renat", "/src/out/renat /bin/renat", "lacks usr/bin/renat"},
		{"FROM ${BASE}", "FROM alpine:latest", "the base alpine:latest is no argument"},
	} {
		got := parseDockerfile(strings.Replace(source, c.old, c.new, 1), nil).problems
		if !slices.ContainsFunc(got, func(p string) bool { return strings.Contains(p, c.want) }) {
			t.Errorf("%q for %q: got %q, want %q", c.new, c.old, got, c.want)
		}
	}
	module, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	image := regexp.MustCompile(`(?m)^ARG GO_IMAGE=golang:([0-9.]+)-`).FindStringSubmatch(source)
	needs := regexp.MustCompile(`(?m)^go ([0-9.]+)$`).FindStringSubmatch(string(module))
	if image == nil || needs == nil || goversion.Compare("go"+image[1], "go"+needs[1]) < 0 {
		t.Errorf("the Dockerfile builds with Go %s, go.mod needs %s", image, needs)
	}
}
