// SPDX-License-Identifier: Apache-2.0

//go:build chromium

package page_test

import (
	"bytes"
	"flag"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/web/api"
)

// screenshots is where the pictures of the views go; make screenshots sets it.
var screenshots = flag.String("screenshots", "", "folder for pictures of the views; empty: they are only looked at")

// maxPicture is how large a picture in the documentation may be, in bytes.
const maxPicture = 150 << 10

// Every view can be drawn in light and dark, wide and narrow.
func TestScreenshots(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	b := demoBoard(t, now)
	all := recorded(t)
	evicted := slices.IndexFunc(all, func(i *incident.Incident) bool { return i.Cause == incident.LRUEviction })
	one := moved(all[evicted], now.Add(-5*time.Minute))
	b.Add(one, 0)
	s := site(t, b, api.AccessConfig{})
	for name, view := range map[string]struct {
		path, ready string
		height      int64
	}{
		"now":       {"/", `document.querySelectorAll(".chart canvas").length == 2`, 1384},
		"incidents": {"/incidents", `document.querySelectorAll(".row a").length > 5 && document.querySelector(".chart canvas")`, 860},
		"incident":  {"/incidents/" + one.ID, `document.querySelector(".timeline")`, 1130},
	} {
		for scheme, dark := range map[string]bool{"light": false, "dark": true} {
			p := open(t, s.URL, "")
			p.dark(dark)
			p.visit(view.path)
			p.until("the view "+name, view.ready)
			p.shoot(t, name+"-"+scheme, 1280, view.height)
			p.until("no sideways scrolling", `document.documentElement.scrollWidth <= innerWidth`)
			if !dark {
				p.shoot(t, name+"-narrow", 360, 740)
				p.until("no sideways scrolling at 360 px", `document.documentElement.scrollWidth <= innerWidth`)
				p.shoot(t, name+"-wide", 2560, 1300)
				p.until("no sideways scrolling at 2560 px", `document.documentElement.scrollWidth <= innerWidth`)
			}
		}
	}
}

// shoot takes a picture of so many CSS pixels.
func (p *tab) shoot(t *testing.T, name string, width, height int64) {
	t.Helper()
	p.resize(width, height)
	picture := run(p, chromedp.CaptureScreenshot())
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil || img.Bounds().Dx() != int(width) {
		t.Fatalf("%s: %v", name, err)
	}
	if *screenshots == "" || width > 1280 {
		return
	}
	small := pack(t, img)
	if len(small) > maxPicture {
		t.Errorf("%s has %d bytes, more than %d", name, len(small), maxPicture)
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), small, 0o644); err != nil {
		t.Fatal(err)
	}
}

// near reports whether nobody sees a difference.
func near(a, b color.RGBA) bool {
	apart := func(a, b uint8) int { return max(int(a)-int(b), int(b)-int(a)) }
	return apart(a.R, b.R)+apart(a.G, b.G)+apart(a.B, b.B) < 10
}

// pack encodes a picture with 256 of its colours, the most frequent ones that
// differ: all that a drawn page needs.
func pack(t *testing.T, img image.Image) []byte {
	t.Helper()
	counts := map[color.RGBA]int{}
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(img.At(x, y)).(color.RGBA) }
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			counts[at(x, y)]++
		}
	}
	frequent := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int { return counts[b] - counts[a] })
	palette := color.Palette{}
	for _, c := range frequent {
		if len(palette) < 256 && !slices.ContainsFunc(palette, func(p color.Color) bool { return near(p.(color.RGBA), c) }) {
			palette = append(palette, c)
		}
	}
	small, index := image.NewPaletted(img.Bounds(), palette), map[color.RGBA]uint8{}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			c := at(x, y)
			if _, ok := index[c]; !ok {
				index[c] = uint8(palette.Index(c))
			}
			small.SetColorIndex(x, y, index[c])
		}
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
