// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// A Page is one Markdown file.
type Page struct {
	Path    string // from the root of the repository, with slashes
	blocks  []fragment
	spans   []fragment
	links   []fragment
	anchors map[string]bool
}

// A fragment is a piece of a page.
type fragment struct {
	line int
	lang string // of a fenced block
	text string
	span bool // in running text
}

// A Problem is something that a page says and that is not so.
type Problem struct {
	Path string
	Line int
	Text string
}

func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.Path, p.Line, p.Text) }

func (p *Page) problem(at fragment, format string, args ...any) Problem {
	return Problem{Path: p.Path, Line: at.line, Text: fmt.Sprintf(format, args...)}
}

var markdown = goldmark.New(goldmark.WithExtensions(extension.GFM))

// NewPage reads a page.
func NewPage(path string, source []byte) *Page {
	p := &Page{Path: path, anchors: map[string]bool{}}
	line := func(offset int) int { return 1 + bytes.Count(source[:offset], []byte("\n")) }
	block := 1 // the line of the block that is being read, for what has no place of its own
	_ = ast.Walk(markdown.Parser().Parse(text.NewReader(source)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		if n.Type() == ast.TypeBlock && n.Lines().Len() > 0 {
			block = line(n.Lines().At(0).Start)
		}
		switch n := n.(type) {
		case *ast.FencedCodeBlock:
			p.blocks = append(p.blocks, fragment{line: block, lang: string(n.Language(source)), text: string(n.Lines().Value(source))})
		case *ast.Heading:
			p.anchor(slug(content(n, source)))
		case *ast.CodeSpan:
			at := block
			if first, ok := n.FirstChild().(*ast.Text); ok {
				at = line(first.Segment.Start)
			}
			p.spans = append(p.spans, fragment{line: at, text: content(n, source), span: true})
		case *ast.Link:
			p.links = append(p.links, fragment{line: block, text: string(n.Destination)})
		case *ast.Image:
			p.links = append(p.links, fragment{line: block, text: string(n.Destination)})
		case *ast.HTMLBlock:
			p.html(block, string(n.Lines().Value(source)))
		case *ast.RawHTML:
			p.html(block, string(n.Segments.Value(source)))
		}
		return ast.WalkContinue, nil // what it returns is never an error
	})
	return p
}

var attribute = regexp.MustCompile(`\b(href|src|srcset|id|name)="([^"]*)"`)

func (p *Page) html(line int, html string) {
	for _, m := range attribute.FindAllStringSubmatch(html, -1) {
		if m[1] == "id" || m[1] == "name" {
			p.anchors[m[2]] = true
			continue
		}
		p.links = append(p.links, fragment{line: line, text: m[2]})
	}
}

// anchor adds a heading's anchor; equal ones are numbered as GitHub does.
func (p *Page) anchor(name string) {
	unique := name
	for n := 1; p.anchors[unique]; n++ {
		unique = fmt.Sprintf("%s-%d", name, n)
	}
	p.anchors[unique] = true
}

// slug is the anchor that GitHub gives to a heading.
func slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// content is the text within a node.
func content(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		switch n := n.(type) {
		case *ast.Text:
			if entering {
				b.Write(n.Segment.Value(source))
				if n.SoftLineBreak() {
					b.WriteByte(' ')
				}
			}
		case *ast.String:
			if entering {
				b.Write(n.Value)
			}
		}
		return ast.WalkContinue, nil // what it returns is never an error
	})
	return b.String()
}
