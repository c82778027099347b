// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// The files of a recording, without .zst or .gz.
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
		return nil, fmt.Errorf("opening recording: %s holds neither %s nor %s (nor .zst or .gz of them)", dir, NATFile, FlowsFile)
	case r.nat == "":
		return nil, fmt.Errorf("opening recording: %s holds flows but no %s(.zst, .gz): without map operations nothing can be said of a connection's ports", dir, NATFile)
	}
	for _, path := range []string{r.flows, r.nat} {
		if info, err := os.Stat(path); err == nil {
			r.size += info.Size()
		}
	}
	return r, r.readMeta()
}

// locate returns the path of the plain or the compressed file, "" if none
// exists. There is no telling which of two is meant.
func locate(dir, name string) (found string, err error) {
	for _, ext := range []string{"", ".gz", ".zst"} {
		path := filepath.Join(dir, name+ext)
		switch _, err := os.Stat(path); {
		case err == nil && found != "":
			return "", fmt.Errorf("opening recording: %s holds both %s and %s: move one of them away", dir, filepath.Base(found), name+ext)
		case err == nil:
			found = path
		case !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("opening recording: %w", err)
		}
	}
	return found, nil
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
	if err := json.Unmarshal(bytes.TrimPrefix(b, mark), &r.Meta); err != nil {
		return fmt.Errorf("opening recording: reading %s: %w", path, err)
	}
	return nil
}

// Peek opens the flows as Flows does, without counting as progress.
func (r *Recording) Peek() (flows io.ReadCloser, name string, err error) {
	return (&Recording{flows: r.flows}).Flows()
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

// open opens a file and decompresses it when its name ends in .zst or .gz.
func (r *Recording) open(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening recording: %w", err)
	}
	t := &textFile{Reader: &countedFile{File: f, read: &r.read}, file: f}
	if err = t.unzip(path); err == nil {
		t.Reader, err = skipMark(t.Reader, path)
	}
	return t, errors.Join(err, closeIf(err, t))
}

// maxWindow bounds the memory that a hostile file asks for; it is what zstd
// --long needs.
const maxWindow = 128 << 20

// unzip puts a decompressor on top, if the file's name asks for one.
func (t *textFile) unzip(path string) error {
	switch filepath.Ext(path) {
	case ".zst":
		z, err := zstd.NewReader(t.Reader, zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return fmt.Errorf("opening recording: %s: %w", path, err)
		}
		t.zip = z
		t.Reader = &zipReader{Reader: z, name: path}
	case ".gz":
		// A buffer of our own, lest gzip reads byte by byte.
		z, err := gzip.NewReader(bufio.NewReaderSize(t.Reader, 1<<16))
		if err != nil {
			return fmt.Errorf("opening recording: %s is no gzip file: %w", path, err)
		}
		t.Reader = &zipReader{Reader: z, name: path}
	}
	return nil
}

func closeIf(err error, f io.Closer) error {
	if err == nil {
		return nil
	}
	return f.Close()
}

// mark is the byte order mark that editors and PowerShell begin a file with.
var mark = []byte{0xef, 0xbb, 0xbf}

// skipMark skips it, and says what else is no JSON at all.
func skipMark(r io.Reader, path string) (io.Reader, error) {
	text := bufio.NewReaderSize(r, 1<<16)
	switch begin, _ := text.Peek(len(mark)); { // what is wrong with the file the next read says, too
	case bytes.HasPrefix(begin, mark):
		_, err := text.Discard(len(mark))
		return text, err
	case bytes.HasPrefix(begin, []byte{0xff, 0xfe}), bytes.HasPrefix(begin, []byte{0xfe, 0xff}):
		return nil, fmt.Errorf("opening recording: %s is UTF-16: save it as UTF-8", path)
	case bytes.HasPrefix(begin, []byte{0x1f, 0x8b}):
		return nil, fmt.Errorf("opening recording: %s is compressed with gzip: let its name end in .gz", path)
	case bytes.HasPrefix(begin, []byte{0x28, 0xb5, 0x2f}):
		return nil, fmt.Errorf("opening recording: %s is compressed with zstd: let its name end in .zst", path)
	}
	return text, nil
}

// textFile is an open file and what is read of it.
type textFile struct {
	io.Reader
	zip  *zstd.Decoder // nil: none
	file *os.File
}

func (t *textFile) Close() error {
	if t.zip != nil {
		t.zip.Close()
	}
	return t.file.Close()
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

type zipReader struct {
	io.Reader
	name string
}

// Read says what is wrong with a file that ends too early or is damaged.
func (z *zipReader) Read(p []byte) (int, error) {
	n, err := z.Reader.Read(p)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("%s is cut off: %w", z.name, err)
	case errors.Is(err, zstd.ErrMagicMismatch):
		err = fmt.Errorf("%s is no zstd file: %w", z.name, err)
	case err != nil && !errors.Is(err, io.EOF):
		err = fmt.Errorf("%s is damaged: %w", z.name, err)
	}
	return n, err
}
