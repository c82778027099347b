// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"fmt"

	"github.com/rs/zerolog"
)

// logger writes the server's log lines to zerolog. Its notices are debug
// lines there: to a renat user the server is an inner part.
type logger struct {
	log zerolog.Logger
	// fatal takes the first reason for which the server gave up starting;
	// Start reads it and returns it instead of logging it.
	fatal chan error
}

func (l *logger) Noticef(format string, v ...any) { l.log.Debug().Msgf(format, v...) }
func (l *logger) Warnf(format string, v ...any)   { l.log.Warn().Msgf(format, v...) }
func (l *logger) Errorf(format string, v ...any)  { l.log.Error().Msgf(format, v...) }
func (l *logger) Debugf(format string, v ...any)  { l.log.Debug().Msgf(format, v...) }
func (l *logger) Tracef(format string, v ...any)  { l.log.Trace().Msgf(format, v...) }

func (l *logger) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Errorf(format, v...):
	default:
		l.log.Error().Msgf(format, v...)
	}
}
