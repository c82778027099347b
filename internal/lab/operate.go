// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/kprobes"
	"github.com/renat-project/renat/sinks/jetstream"
)

const settle = 3 * time.Second
