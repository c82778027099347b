// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"net/url"
	"path"
	"regexp"
	"strings"
)

// ownURL is a link to a file of the repository as its host shows it.
var ownURL = regexp.MustCompile(`^https://(?:github\.com/renat-project/renat/(?:blob|tree|raw)|raw\.githubusercontent\.com/renat-project/renat)/main/`)

// Links finds the links and pictures that lead nowhere in the repository.
// Links to other places are not followed.
func (s *Set) Links() []Problem {
	var problems []Problem
	for _, page := range s.Pages {
		for _, link := range page.links {
			target, anchor, ok := page.resolve(link.text)
			if !ok {
				continue
			}
			to := s.page(target)
			if to == nil && (strings.HasPrefix(target, "../") || !s.exists(target)) {
				problems = append(problems, page.problem(link, "link to %s, which does not exist", link.text))
				continue
			}
			if anchor != "" && to != nil && !to.anchors[anchor] {
				problems = append(problems, page.problem(link, "link to %s: %s has no heading #%s", link.text, target, anchor))
			}
		}
	}
	return problems
}

// resolve returns the path in the repository that a link of the page is to, and
// the anchor there; not for links to other places.
func (p *Page) resolve(link string) (target, anchor string, ours bool) {
	base := path.Dir(p.Path)
	if prefix := ownURL.FindString(link); prefix != "" {
		base, link = ".", strings.TrimPrefix(link, prefix)
	}
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "" || u.Host != "" {
		return "", "", false
	}
	if u.Path == "" {
		return p.Path, u.Fragment, true
	}
	return path.Join(base, u.Path), u.Fragment, true
}

// Index finds the pages in docs/ that no reader would come to: those that are
// linked neither from README.md nor from docs/README.md, nor from the README.md
// beside them.
func (s *Set) Index() []Problem {
	linked := map[string]bool{}
	for _, page := range s.Pages {
		if path.Base(page.Path) != "README.md" {
			continue
		}
		for _, link := range page.links {
			if target, _, ok := page.resolve(link.text); ok {
				linked[target] = true
				linked[path.Join(target, "README.md")] = true // a link to a folder shows this
			}
		}
	}
	var problems []Problem
	for _, page := range s.Pages {
		if strings.HasPrefix(page.Path, "docs/") && !linked[page.Path] {
			problems = append(problems, Problem{page.Path, 1, "no README.md links to this page"})
		}
	}
	return problems
}
