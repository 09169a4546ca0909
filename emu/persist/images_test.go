package persist

import (
	"bytes"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"testing"
)

func word(v byte) []byte { return []byte{v, 0, 0, 0, 0, 0, 0, 0} }

// independent returns a memory with one unflushed store to each of n lines.
func independent(n int) *Memory {
	m := New(X86, nil)
	for i := range n {
		m.Store(uint64(i)*64, word(1))
	}
	return m
}

// TestOrder checks that fewer stale lines come first, and that an image changes from the one
// before by few lines.
func TestOrder(t *testing.T) {
	for _, n := range []int{0, 1, 2, 7, 10} {
		m := independent(n)
		s := m.Proven()
		image := make([]byte, max(n, 1)*64)
		seen := map[string]bool{}
		puts, k := 0, 0
		into := Into(image, 0)
		for choices := range s.All(func(off uint64, content []byte) { puts++; into(off, content) }) {
			if len(choices) < k {
				t.Errorf("%d lines: %d stale after %d", n, len(choices), k)
			}
			k = len(choices)
			var stale []int
			for i := range n {
				if image[i*64] == 0 {
					stale = append(stale, i)
				}
			}
			var want []int
			for _, c := range choices {
				want = append(want, c.Cell)
			}
			if !slices.Equal(stale, want) {
				t.Errorf("%d lines: %v are stale, All says %v", n, stale, choices)
			}
			seen[string(image)] = true
		}
		if len(seen) != 1<<n || s.Count() != 1<<n {
			t.Errorf("%d lines: %d images, Count %d", n, len(seen), s.Count())
		}
		if most := n + 4<<n; puts > most {
			t.Errorf("%d lines: %d changes of a line for %d images, want at most %d", n, puts, 1<<n, most)
		}
	}
}

// TestBreak leaves All early, and makes the same image from its choices.
func TestBreak(t *testing.T) {
	m := independent(5)
	m.Store(0, word(2))
	s := m.Proven()
	for stop := range int(s.Count()) {
		image, again := make([]byte, 5*64), make([]byte, 5*64)
		i := 0
		var choices []Choice
		for choices = range s.All(Into(image, 0)) {
			if i == stop {
				break
			}
			i++
		}
		s.Apply(choices, Into(again, 0))
		if !bytes.Equal(image, again) {
			t.Errorf("image %d isn't that of %v", stop, choices)
		}
	}
}

// TestSnapshot checks that images are those of their moment, whatever comes after.
func TestSnapshot(t *testing.T) {
	m := independent(2)
	s := m.Proven()
	m.CLFlush(0, 0, 128)
	m.Store(0, word(7))
	if got := m.Proven().Count(); got != 2 {
		t.Errorf("%d images after the flush and a store, want 2", got)
	}
	image := make([]byte, 128)
	for range s.All(Into(image, 0)) {
		if image[0] > 1 {
			t.Errorf("a later store is in an earlier image")
		}
	}
	if s.Count() != 4 {
		t.Errorf("%d images, want 4", s.Count())
	}
}

func TestCells(t *testing.T) {
	m := New(X86, nil)
	m.Store(1<<63-8, word(1))
	m.Store(0, word(2))
	m.Store(0, word(3))
	m.Store(math.MaxUint64-7, word(4))
	s := m.Proven()
	type row struct {
		off      uint64
		contents []byte
	}
	want := []row{{0, []byte{3, 2, 0}}, {1<<63 - 64, []byte{1, 0}}, {math.MaxUint64 - 63, []byte{4, 0}}}
	if s.Cells() != len(want) || s.Count() != 12 {
		t.Fatalf("%d cells, %d images; want 3, 12", s.Cells(), s.Count())
	}
	for i, w := range want {
		off, size, n := s.Cell(i)
		if off != w.off || size != 64 || n != uint64(len(w.contents)) {
			t.Errorf("cell %d: %#x, %d bytes, %d contents; want %+v", i, off, size, n, w)
			continue
		}
		p := make([]byte, size)
		for v, b := range w.contents {
			s.Content(i, uint64(v), p)
			if got := p[0] | p[56]; got != b {
				t.Errorf("cell %d, content %d: %d, want %d", i, v, got, b)
			}
		}
	}
}

func TestSample(t *testing.T) {
	for _, c := range []struct {
		lines    int
		n, count uint64
	}{
		{0, 1, 1}, {3, 8, 8}, {3, 9, 8}, {3, 7, 7}, {3, 1, 1}, {3, 0, 0}, {20, 1000, 1000},
		{63, 500, 500}, {64, 500, 500}, {100, 500, 500},
	} {
		m := independent(c.lines)
		s := m.Proven()
		image := make([]byte, max(1, c.lines)*64)
		run := func(seed uint64) (images []string) {
			clear(image)
			for choices := range s.Sample(seed, c.n, Into(image, 0)) {
				images = append(images, string(image))
				again := make([]byte, len(image))
				s.Apply(choices, Into(again, 0))
				if !bytes.Equal(again, image) {
					t.Fatalf("%+v: image isn't that of %v", c, choices)
				}
			}
			return images
		}
		a, b, other := run(1), run(1), run(2)
		if !slices.Equal(a, b) {
			t.Errorf("%+v: one seed, two samples", c)
		}
		if c.lines >= 20 && slices.Equal(a, other) {
			t.Errorf("%+v: two seeds, one sample", c)
		}
		if uint64(len(a)) != c.count {
			t.Errorf("%+v: %d images", c, len(a))
		}
		slices.Sort(a)
		if n := len(slices.Compact(a)); uint64(n) != c.count {
			t.Errorf("%+v: %d of them distinct", c, n)
		}
	}
}

// TestSampleIsFair checks that every line is stale in about half of the images, and every
// pair of lines in about a quarter.
func TestSampleIsFair(t *testing.T) {
	const lines, n = 70, 20000
	s := independent(lines).Proven()
	image := make([]byte, lines*64)
	var single [lines]int
	pairs := 0
	for range s.Sample(3, n, Into(image, 0)) {
		for i := range lines {
			if image[i*64] == 0 {
				single[i]++
			}
		}
		if image[0] == 0 && image[64*(lines-1)] == 0 {
			pairs++
		}
	}
	for i, got := range single {
		if got < n*47/100 || got > n*53/100 {
			t.Errorf("line %d is stale in %d of %d images", i, got, n)
		}
	}
	if pairs < n*22/100 || pairs > n*28/100 {
		t.Errorf("the first and the last line are stale in %d of %d images", pairs, n)
	}
}

func TestCountSaturates(t *testing.T) {
	for _, c := range []struct {
		lines int
		want  uint64
	}{{62, 1 << 62}, {63, 1 << 63}, {64, math.MaxUint64}, {300, math.MaxUint64}} {
		if got := independent(c.lines).Proven().Count(); got != c.want {
			t.Errorf("%d lines: %d, want %d", c.lines, got, c.want)
		}
	}
}

// TestBounds checks that a line with more contents than are kept says so, and keeps the
// newest and the oldest ones.
func TestBounds(t *testing.T) {
	for _, c := range []struct {
		name  string
		model Model
		do    func(*Memory)
	}{
		{"versions of a word", Arm64, func(m *Memory) {
			for i := range 300 {
				m.Store(0, []byte{byte(i + 1), byte((i + 1) >> 8)})
			}
		}},
		{"versions of eight words", Arm64, func(m *Memory) {
			for i := range 8 * 60 {
				m.Store(uint64(i%8*8), word(byte(i/8+1)))
			}
		}},
		{"long stores under a non-temporal one", X86, func(m *Memory) {
			for i := range 20 {
				m.Store(0, bytes.Repeat(word(byte(i+1)), 8))
			}
			m.StoreNT(0, 0, bytes.Repeat(word(100), 8))
		}},
		{"non-temporal stores of many goroutines", X86, func(m *Memory) {
			for i := range 20 {
				m.StoreNT(int64(i), 0, word(byte(i+1)))
			}
		}},
		{"forgotten long stores", X86, func(m *Memory) {
			for i := range 200 {
				m.Store(0, bytes.Repeat(word(byte(i+1)), 8))
			}
		}},
		{"forgotten versions", X86, func(m *Memory) {
			for i := range 5000 {
				m.Store(0, []byte{byte(i + 1), byte((i + 1) >> 8)})
			}
		}},
	} {
		m := New(c.model, nil)
		c.do(m)
		s := m.Proven()
		if s.Cells() != 1 {
			t.Errorf("%s: %d cells", c.name, s.Cells())
			continue
		}
		_, size, n := s.Cell(0)
		visible, got, durable := make([]byte, size), make([]byte, size), make([]byte, size)
		m.Visible(0, visible)
		s.Content(0, 0, got)
		if !bytes.Equal(got, visible) {
			t.Errorf("%s: the newest content isn't what is visible", c.name)
		}
		var oldest bool
		for v := range min(n, 1<<17) {
			s.Content(0, n-1-v, got)
			oldest = oldest || bytes.Equal(got, durable)
		}
		if !oldest {
			t.Errorf("%s: what is durable isn't there", c.name)
		}
		complete := c.name == "versions of eight words" || c.name == "non-temporal stores of many goroutines"
		if s.Complete() != complete {
			t.Errorf("%s: %d contents, complete: %v", c.name, n, s.Complete())
		}
		if n < 21 || bits.Len64(n) > 63 {
			t.Errorf("%s: %d contents", c.name, n)
		}
		m.CLFlush(0, 0, 64)
		for g := range int64(20) {
			m.Flush(g, 0, 64)
			m.Fence(g)
		}
		m.Store(0, word(255))
		if s := m.Proven(); s.Count() != 2 || !s.Complete() {
			t.Errorf("%s: after the fence and a store: %d images, complete: %v", c.name, s.Count(), s.Complete())
		}
	}
}

// TestForget checks, against a memory that forgets nothing, that forgotten versions leave
// images that there are, and that flushes that wait for a fence still count.
func TestForget(t *testing.T) {
	for _, model := range []Model{X86, Arm64, PageCache} {
		small, full := New(model, nil), New(model, nil)
		set := func(m *Memory, proven bool) map[string]bool {
			s := m.Possible()
			if proven {
				s = m.Proven()
			}
			image := make([]byte, m.blockSize)
			m.Visible(0, image)
			images := map[string]bool{}
			for range s.All(Into(image, 0)) {
				images[string(image)] = true
			}
			return images
		}
		small.block(0).limit = 4
		dropped := false
		for i := range 29 {
			g := int64(i / 7)
			for _, m := range []*Memory{small, full} {
				m.Store(uint64(i*5%3*8), bytes.Repeat(word(byte(i+1)), 1+i%2))
				m.Store(uint64(i%5*4), bytes.Repeat([]byte{byte(i + 1)}, 4))
				if i == 22 {
					m.StoreNT(99, 4, word(255)) // waits for ever
				}
				switch i % 7 {
				case 2, 4:
					m.Flush(g, 0, 1)
				case 6:
					if i > 14 {
						m.Fence(g - 1)
					}
				}
			}
			for _, proven := range []bool{true, false} {
				few, all := set(small, proven), set(full, proven)
				for image := range few {
					if !all[image] {
						t.Fatalf("%v, step %d: there's an image of which the full history has none (proven: %v)", model, i, proven)
					}
				}
				dropped = dropped || len(few) < len(all)
			}
			if i%7 == 6 {
				a, b := make([]byte, 64), make([]byte, 64)
				small.Durable(0, a)
				full.Durable(0, b)
				if !bytes.Equal(a, b) {
					t.Errorf("%v, step %d: durable is %x, want %x", model, i, a, b)
				}
			}
		}
		if !dropped || small.Proven().Complete() {
			t.Errorf("%v: nothing was forgotten", model)
		}
	}
}

// TestForgetKeeps forgets around a flush that waits for its fence, and beside a
// non-temporal store.
func TestForgetKeeps(t *testing.T) {
	durable := func(m *Memory) string {
		p := make([]byte, 8)
		m.Durable(0, p)
		return fmt.Sprintf("%x", p)
	}
	m := New(X86, nil)
	m.block(0).limit = 4
	m.Store(0, word(1))
	m.Flush(1, 0, 1)
	for i := range 4 {
		m.Store(0, word(byte(i+2)))
	}
	if m.Proven().Complete() {
		t.Error("nothing was forgotten")
	}
	m.Fence(1)
	if got, want := durable(m), "0100000000000000"; got != want {
		t.Errorf("durable is %s, want %s", got, want)
	}

	m = New(X86, nil)
	m.block(0).limit = 4
	m.StoreNT(9, 0, []byte{1, 1, 1, 1})
	m.Store(4, []byte{2, 2, 2, 2})
	for i := range uint64(3) {
		m.Store(8+8*i, word(1))
	}
	m.Flush(1, 0, 1)
	m.Fence(1)
	if got, want := durable(m), "0000000002020202"; got != want {
		t.Errorf("durable is %s, want %s", got, want)
	}
}

func BenchmarkImages(b *testing.B) {
	for _, lines := range []int{7, 20} {
		b.Run(fmt.Sprintf("all/lines=%d", lines), func(b *testing.B) {
			s := independent(lines).Proven()
			image := make([]byte, lines*64)
			into := Into(image, 0)
			b.ReportAllocs()
			n := 0
			for n < b.N {
				for range s.All(into) {
					if n++; n == b.N {
						break
					}
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "images/s")
		})
		b.Run(fmt.Sprintf("sample/lines=%d", lines), func(b *testing.B) {
			s := independent(lines).Proven()
			image := make([]byte, lines*64)
			into := Into(image, 0)
			b.ReportAllocs()
			n := 0
			for n < b.N {
				for range s.Sample(uint64(n), s.Count()-1, into) {
					if n++; n == b.N {
						break
					}
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "images/s")
		})
	}
	b.Run("set/lines=7", func(b *testing.B) { // what it takes to know the images
		m := independent(7)
		b.ReportAllocs()
		for b.Loop() {
			m.Proven()
		}
	})
}

func BenchmarkPersist(b *testing.B) {
	for _, n := range []int{8, 64, 4096} {
		b.Run(fmt.Sprintf("bytes=%d", n), func(b *testing.B) {
			m := New(X86, nil)
			data := make([]byte, n)
			b.ReportAllocs()
			for b.Loop() {
				data[0]++
				m.Store(0, data)
				m.Flush(1, 0, uint64(n))
				m.Fence(1)
			}
		})
	}
}

// TestJoinAndKeep: joined sets are the product, and what isn't kept is at its newest.
func TestJoinAndKeep(t *testing.T) {
	lines, sectors := New(X86, nil), New(PageCache, nil)
	sectors.Store(1<<20, word(1))
	lines.Store(128, word(2))
	lines.Store(0, word(3))
	joined := Join(sectors.Proven(), lines.Proven())
	if n := joined.Count(); n != 8 || !joined.Complete() {
		t.Errorf("%d images, complete: %t; want 8, true", n, joined.Complete())
	}
	var offs []uint64
	for i := range joined.Cells() {
		off, _, _ := joined.Cell(i)
		offs = append(offs, off)
	}
	if want := []uint64{0, 128, 1 << 20}; !slices.Equal(offs, want) {
		t.Errorf("cells at %d, want %d", offs, want)
	}
	kept := joined.Keep(func(off uint64, size int) bool { return off == 128 && size == 64 })
	if n := kept.Count(); n != 2 {
		t.Errorf("%d images of one line, want 2", n)
	}
}
