// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

// image writes the initramfs: a cpio archive in the kernel's "newc" format
// (Documentation/driver-api/early-userspace/buffer-format.rst). It is not
// compressed: an emulated processor is slow to unpack it.
type image struct {
	out   *bufio.Writer
	inode int
	size  int
	err   error
}

func newImage(w io.Writer) *image { return &image{out: bufio.NewWriterSize(w, 1<<16)} }

// The mode bits of stat(2).
const (
	modeDir        = 0o040000
	modeRegular    = 0o100000
	modeCharDevice = 0o020000
)

func (i *image) dir(name string) { i.entry(name, modeDir|0o755, 0, 0, nil) }

func (i *image) file(name string, mode int, content []byte) {
	i.entry(name, modeRegular|mode, 0, 0, content)
}

// device adds a character device.
func (i *image) device(name string, major, minor int) {
	i.entry(name, modeCharDevice|0o600, major, minor, nil)
}

func (i *image) entry(name string, mode, major, minor int, content []byte) {
	i.inode++
	header := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		i.inode, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0)
	i.write([]byte(header))
	i.write([]byte(name + "\x00"))
	i.align()
	i.write(content)
	i.align()
}

// align pads with zeros to a multiple of 4 bytes.
func (i *image) align() { i.write(make([]byte, -i.size&3)) }

func (i *image) write(b []byte) {
	if i.err == nil {
		_, i.err = i.out.Write(b)
	}
	i.size += len(b)
}

// close ends the archive and returns the first error of all.
func (i *image) close() error {
	i.entry("TRAILER!!!", 0, 0, 0, nil)
	if i.err != nil {
		return i.err
	}
	return i.out.Flush()
}

// addFile copies a file of the host, executable.
func (i *image) addFile(name, path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	i.file(name, 0o755, content)
	return i.err
}
