// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
)

// The files of a recording, without .gz.
const (
	FlowsFile = "flows.jsonl"
	NATFile   = "nat.jsonl"
	MetaFile  = "meta.json"
	TruthFile = "truth.jsonl" // written only; never compressed
)

// Recording is an opened folder.
type Recording struct {
	Dir   string
	Meta  Meta
	flows string // path, "" if there is none
	nat   string
	size  int64
	read  atomic.Int64
}

// Progress returns how many bytes of the files have been read, and how many
// there are. It may be called from any goroutine.
func (r *Recording) Progress() (read, size int64) { return r.read.Load(), r.size }

// Open looks at the folder. It fails when the folder holds no map operations,
// without which nothing can be derived, or when meta.json is not what it says.
func Open(dir string) (*Recording, error) {
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("opening recording: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("opening recording: %s is not a folder: name the folder that holds %s", dir, NATFile)
	}
	r := &Recording{Dir: dir}
	var err error
	if r.flows, err = locate(dir, FlowsFile); err != nil {
		return nil, err
	}
	if r.nat, err = locate(dir, NATFile); err != nil {
		return nil, err
	}
	switch {
	case r.nat == "" && r.flows == "":
		return nil, fmt.Errorf("opening recording: %s holds neither %s nor %s (nor .gz of them)", dir, NATFile, FlowsFile)
	case r.nat == "":
		return nil, fmt.Errorf("opening recording: %s holds flows but no %s(.gz): without map operations nothing can be said of a connection's ports", dir, NATFile)
	}
	for _, path := range []string{r.flows, r.nat} {
		if info, err := os.Stat(path); err == nil {
			r.size += info.Size()
		}
	}
	return r, r.readMeta()
}

// locate returns the path of the plain or the compressed file, "" if neither exists.
func locate(dir, name string) (string, error) {
	for _, ext := range []string{"", ".gz"} {
		path := filepath.Join(dir, name+ext)
		switch _, err := os.Stat(path); {
		case err == nil:
			return path, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("opening recording: %w", err)
		}
	}
	return "", nil
}

func (r *Recording) readMeta() error {
	path := filepath.Join(r.Dir, MetaFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening recording: %w", err)
	}
	if err := json.Unmarshal(b, &r.Meta); err != nil {
		return fmt.Errorf("opening recording: reading %s: %w", path, err)
	}
	return nil
}

// Flows opens the flows for reading, decompressed. name is the file's path for
// messages. Without flows it returns nil and no error.
func (r *Recording) Flows() (flows io.ReadCloser, name string, err error) {
	if r.flows == "" {
		return nil, "", nil
	}
	f, err := r.open(r.flows)
	return f, r.flows, err
}

// open opens a file and decompresses it when its name ends in .gz.
func (r *Recording) open(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening recording: %w", err)
	}
	counted := &countedFile{File: f, read: &r.read}
	if filepath.Ext(path) != ".gz" {
		return counted, nil
	}
	// A buffer of our own, lest gzip reads byte by byte.
	z, err := gzip.NewReader(bufio.NewReaderSize(counted, 1<<16))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening recording: %s is no gzip file: %w", path, err)
	}
	return &gzipFile{Reader: z, file: f}, nil
}

// countedFile counts what is read of it.
type countedFile struct {
	*os.File
	read *atomic.Int64
}

func (c *countedFile) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	c.read.Add(int64(n))
	return n, err
}

type gzipFile struct {
	*gzip.Reader
	file *os.File
}

// Read says what is wrong with a file that ends too early or is damaged.
func (g *gzipFile) Read(p []byte) (int, error) {
	n, err := g.Reader.Read(p)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("%s is cut off: %w", g.file.Name(), err)
	case err != nil && !errors.Is(err, io.EOF):
		err = fmt.Errorf("%s is damaged: %w", g.file.Name(), err)
	}
	return n, err
}

func (g *gzipFile) Close() error {
	return errors.Join(g.Reader.Close(), g.file.Close())
}
