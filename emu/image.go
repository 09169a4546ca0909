package emu

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"pmemlab/emu/trace"
)

// imageExtra is what an image file holds besides the image.
type imageExtra struct {
	Trace []byte `json:",omitempty"` // a deflate stream (RFC 1951) of JSON lines
	Lost  []Line
	Bad   []savedBad `json:",omitempty"`
	// Unsafe are the DIMMs whose counts of dirty shutdowns rise at the boot.
	Unsafe []string `json:",omitempty"`
}

type savedBad struct {
	Object   int
	Off, Len uint64
}

// Save writes the image so that [Load] can read it, in another process too: all that a
// power failure leaves of the machine, and the trace of the one that failed, up to the failure: of
// a long one the newest events, which [trace.Log] says by Dropped.
func (i *Image) Save(w io.Writer) error {
	extra := imageExtra{Lost: i.Lost(), Unsafe: i.unsafe}
	for _, b := range i.bad {
		extra.Bad = append(extra.Bad, savedBad{b.object, b.x.start, b.x.end - b.x.start})
	}
	if t := i.Trace(); t != nil {
		var err error
		if extra.Trace, err = packTrace(t, maxTraceText); err != nil {
			return err
		}
	}
	text, err := json.Marshal(extra)
	if err != nil {
		return err
	}
	return writeImage(w, i.version.boot, i.contents(), text)
}

// How much of a trace an image file holds: bytes of JSON lines, and of the stream.
const (
	maxTraceText   = 256 << 20
	maxTraceStream = maxImageHeader / 2
)

var errTraceTooLong = errors.New("there are more bytes of it than allowed")

// limited passes on at most left bytes.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errTraceTooLong
	}
	return l.w.Write(p)
}

// packTrace compresses the newest events of l, as many halves of it as fit.
func packTrace(l *trace.Log, limit int) ([]byte, error) {
	newest := *l
	for {
		var stream bytes.Buffer
		deflate, err := flate.NewWriter(&limited{&stream, maxTraceStream}, flate.BestSpeed)
		if err != nil {
			return nil, err
		}
		if err = newest.WriteJSON(&limited{deflate, limit}); err == nil {
			err = deflate.Close()
		}
		n := len(newest.Events)
		if err == nil || !errors.Is(err, errTraceTooLong) || n == 0 {
			return stream.Bytes(), err
		}
		newest.Events = newest.Events[n-n/2:]
		newest.Dropped += uint64(n - n/2)
	}
}

// unpackTrace reads what packTrace has written.
func unpackTrace(stream []byte, limit int64) (*trace.Log, error) {
	text := &io.LimitedReader{R: flate.NewReader(bytes.NewReader(stream)), N: limit + 1}
	log, err := trace.ReadJSON(text)
	if text.N == 0 {
		err = errTraceTooLong
	}
	return log, err
}

// Trace returns what the machine that failed had recorded until then.
func (i *Image) Trace() *trace.Log {
	if i.states == nil || i.states.trace == nil {
		return nil
	}
	return i.states.trace()
}

// Load reads an image that [Image.Save] has written. The error says what is wrong with the
// file: it's checked before anything is believed.
func Load(r io.Reader) (*Image, error) {
	f, err := readImage(r)
	if err != nil {
		return nil, err
	}
	var extra imageExtra
	if len(f.Extra) > 0 {
		if err := json.Unmarshal(f.Extra, &extra); err != nil {
			return nil, fmt.Errorf("emu: image: %w", err)
		}
	}
	i := &Image{
		version: &crashVersion{boot: f.Blueprint, index: f.Blueprint.index()},
		fixed:   map[int]map[uint64]*mediaPage{}, unsafe: extra.Unsafe, lost: extra.Lost,
	}
	if len(extra.Trace) > 0 {
		log, err := unpackTrace(extra.Trace, maxTraceText)
		if err != nil {
			return nil, fmt.Errorf("emu: the trace of an image: %w", err)
		}
		i.states = &CrashStates{trace: func() *trace.Log { return log }}
	}
	for _, b := range extra.Bad {
		o, ok := i.version.index[b.Object]
		if !ok || b.Len == 0 || b.Off > o.size || b.Len > o.size-b.Off {
			return nil, fmt.Errorf("emu: image: %d bad bytes at %d of object %d, which aren't in one", b.Len, b.Off, b.Object)
		}
		i.bad = append(i.bad, badRange{b.Object, extent{b.Off, b.Off + b.Len}})
	}
	for _, c := range f.Contents {
		pages := i.fixed[c.Object]
		if pages == nil {
			pages = map[uint64]*mediaPage{}
			i.fixed[c.Object] = pages
		}
		for data, off := c.Data, c.Off; len(data) > 0; {
			page := pages[off/pageSize]
			if page == nil {
				page = &mediaPage{}
				pages[off/pageSize] = page
			}
			n := copy(page.data[off%pageSize:], data)
			data, off = data[n:], off+uint64(n)
		}
	}
	i.version.pages = i.fixed
	return i, nil
}
