// SPDX-License-Identifier: Apache-2.0

package sysdump

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	// atOnce parts are fetched at a time, and are in memory.
	atOnce = 16
	// maxPart is how long a part may be, in bytes; of a longer one the end is kept:
	// in a log that is the newest.
	maxPart = 2 << 20
	// fetchWithin is how long a part may take.
	fetchWithin = 15 * time.Second
)

// Part is one file of a bundle.
type Part struct {
	Name string // with slashes
	Get  func(context.Context) ([]byte, error)
}

// Bundle is what a report needs.
type Bundle struct {
	Parts []Part
	// Redact what is in the parts and their names; nil: only secrets are removed.
	Redact *Redactor
	// Time of the files.
	Time time.Time
}

// fetched is a part, or why there is none.
type fetched struct {
	body []byte
	err  error
}

// Write fetches the parts and writes the bundle. What is missing, and why, is in
// its last file, missing.txt, and is returned, too. It fails when w does, or when
// ctx ends.
func (b *Bundle) Write(ctx context.Context, w io.Writer) (missing []string, err error) {
	zipped := gzip.NewWriter(w)
	archive := tar.NewWriter(zipped)
	results := b.fetch(ctx)
	for i, part := range b.Parts {
		got := <-results[i]
		if ctx.Err() != nil {
			return missing, ctx.Err()
		}
		if got.err != nil {
			missing = append(missing, b.clean(part.Name+": "+got.err.Error()))
			continue
		}
		if err := b.add(archive, part.Name, got.body); err != nil {
			return missing, err
		}
	}
	if len(missing) > 0 {
		if err := b.add(archive, "missing.txt", []byte(strings.Join(missing, "\n")+"\n")); err != nil {
			return missing, err
		}
	}
	if err = archive.Close(); err == nil {
		err = zipped.Close()
	}
	if err != nil {
		return missing, fmt.Errorf("writing the bundle: %w", err)
	}
	return missing, nil
}

// fetch gets the parts, atOnce of them ahead of who reads.
func (b *Bundle) fetch(ctx context.Context) []chan fetched {
	results := make([]chan fetched, len(b.Parts))
	for i := range results {
		results[i] = make(chan fetched)
	}
	places := make(chan struct{}, atOnce)
	go func() {
		for i, part := range b.Parts {
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				close(results[i])
				continue
			}
			go func() {
				defer func() { <-places }()
				limited, cancel := context.WithTimeout(ctx, fetchWithin)
				defer cancel()
				var f fetched
				if f.body, f.err = part.Get(limited); len(f.body) > maxPart {
					f.body = f.body[len(f.body)-maxPart:]
				}
				select {
				case results[i] <- f:
				case <-ctx.Done():
					close(results[i])
				}
			}()
		}
	}()
	return results
}

func (b *Bundle) add(archive *tar.Writer, name string, body []byte) error {
	name, text := b.clean(name), b.clean(string(body))
	err := archive.WriteHeader(&tar.Header{Name: "renat-sysdump/" + name, Mode: 0o600, Size: int64(len(text)), ModTime: b.Time, Typeflag: tar.TypeReg})
	if err == nil {
		_, err = io.WriteString(archive, text)
	}
	if err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	return nil
}

func (b *Bundle) clean(text string) string {
	text = withoutSecrets(text)
	if b.Redact != nil {
		text = b.Redact.Text(text)
	}
	return text
}
