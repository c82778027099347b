// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long a file must be left alone before it is read again: an
// editor, and Kubernetes, change it in several steps.
const settle = 200 * time.Millisecond

// Watch sends a value whenever the content of the file has changed, until ctx
// ends. It watches the directory, because the file may be replaced, as that of
// a ConfigMap is by moving a link.
func Watch(ctx context.Context, path string, changed chan<- struct{}) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching %s: %w", path, err)
	}
	defer w.Close()
	if err := w.Add(filepath.Dir(path)); err != nil {
		return fmt.Errorf("watching %s: %w", path, err)
	}
	last, _ := os.ReadFile(path) // a file that is missing now has changed when it comes
	quiet := time.NewTimer(time.Hour)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.Events:
			quiet.Reset(settle)
		case err := <-w.Errors: // some may have been lost: look
			if err != nil {
				quiet.Reset(settle)
			}
		case <-quiet.C:
			now, err := os.ReadFile(path)
			if err != nil || bytes.Equal(now, last) {
				continue
			}
			last = now
			select {
			case changed <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
		}
	}
}
