package main

import "testing"

// TestImagesWays: each way goes through all of the 128 images, each once.
func TestImagesWays(t *testing.T) {
	o := crashOptions{rounds: 3, sample: 1000, seed: 1}
	for _, w := range imagesWays {
		t.Run(w.check, func(t *testing.T) {
			p, err := w.round(o, fewLines, 2)
			if err != nil {
				t.Fatal(err)
			}
			if p.distinct != 1<<fewLines || p.images != p.passes*1<<fewLines {
				t.Errorf("%d images in %d passes, %d of them distinct; want 128 in each", p.images, p.passes, p.distinct)
			}
		})
	}
}

// TestDistinct: an image that comes twice is noticed, and bytes that aren't any.
func TestDistinct(t *testing.T) {
	d := new(distinct)
	b := make([]byte, fewLines*lineBytes)
	for _, want := range []uint64{1, 1, 2} {
		if want == 2 {
			b[lineBytes] = 1
		}
		if err := d.see(b, fewLines); err != nil || d.count.Load() != want {
			t.Errorf("%d distinct, error %v; want %d", d.count.Load(), err, want)
		}
	}
	if b[0] = 2; d.see(b, fewLines) == nil {
		t.Error("a line that begins with 2 is no error")
	}
	if d.clear(fewLines); d.count.Load() != 0 {
		t.Errorf("%d distinct after clear, want 0", d.count.Load())
	}
}

// TestLookRig: a look finds the pages that were written to, and no others.
func TestLookRig(t *testing.T) {
	for _, scan := range []bool{true, false} {
		r, err := newLookRig(4<<20, 3, 2*pageBytes, scan)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := r.look(); err != nil {
				t.Error(err)
			}
		}
		for i := range r.pages {
			if got := r.mp.Bytes()[uint64(i)*r.apart]; got != 2 {
				t.Errorf("scan %t: page %d begins with %d, want 2", scan, i, got)
			}
		}
		if err := r.close(); err != nil {
			t.Error(err)
		}
	}
}
