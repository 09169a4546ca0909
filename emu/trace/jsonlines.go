package trace

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	jsonVersion = 1
	// maxLine bounds a line of JSON, in bytes; half of it is the most data of an event.
	maxLine = 256 << 20
)

// A jsonHeader is the first line.
type jsonHeader struct {
	Version int          `json:"version"`
	Objects []Object     `json:"objects,omitempty"`
	Dropped uint64       `json:"dropped,omitempty"`
	Guilty  []jsonGuilty `json:"guilty,omitempty"`
}

type jsonGuilty struct {
	Object int    `json:"object"`
	Off    uint64 `json:"off"`
	Len    uint64 `json:"len"`
	Seq    uint64 `json:"seq,omitempty"`
	Title  string `json:"title"`
	Text   string `json:"text,omitempty"`
}

// A jsonEvent is each other line. Without an object it's outside any.
type jsonEvent struct {
	Seq      uint64  `json:"seq"`
	Kind     string  `json:"kind"`
	G        int64   `json:"g,omitempty"`
	Addr     uint64  `json:"addr,omitempty"`
	Len      uint64  `json:"len,omitempty"`
	Object   *int    `json:"object,omitempty"`
	Off      uint64  `json:"off,omitempty"`
	Data     string  `json:"data,omitempty"`
	NoEffect bool    `json:"noeffect,omitempty"`
	Text     string  `json:"text,omitempty"`
	Callers  []Frame `json:"callers,omitempty"`
}

// WriteJSON writes the log as JSON lines, for programs and for [ReadJSON]: a header with
// the version of the form, 1, the objects, the number of dropped events and the guilty
// lines, then a line for each event, its kind by name and its data in hexadecimal; what is
// zero is left out, as is the object of an event outside any. Text that isn't UTF-8 has
// U+FFFD where it isn't.
//
// The error is that of w, or says which event or object is like no machine's: an unknown
// kind, numbers that fall, an object that the log doesn't have, data whose length isn't
// Len, more than 127 MiB of it. Nothing is written of a log that isn't valid.
func (l *Log) WriteJSON(w io.Writer) error {
	if err := l.check(); err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	h := jsonHeader{Version: jsonVersion, Objects: l.Objects, Dropped: l.Dropped}
	for _, g := range l.Guilty {
		h.Guilty = append(h.Guilty, jsonGuilty(g))
	}
	for i := range l.Events {
		if n := len(l.Events[i].Data); n > maxLine/2-1<<20 {
			return fmt.Errorf("trace: event %d has %d bytes of data, at most %d can be written", i, n, maxLine/2-1<<20)
		}
	}
	out := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(h); err != nil {
		return err
	}
	for i := range l.Events {
		e := &l.Events[i]
		j := jsonEvent{
			Seq: e.Seq, Kind: e.Kind.String(), G: e.G, Addr: e.Addr, Len: e.Len, Off: e.Off,
			Data: hex.EncodeToString(e.Data), NoEffect: e.NoEffect, Text: e.Text, Callers: e.Callers,
		}
		if e.Object >= 0 {
			j.Object = &e.Object
		}
		if err := enc.Encode(j); err != nil {
			return err
		}
	}
	return out.Flush()
}

// ReadJSON reads what [Log.WriteJSON] has written. The log is equal to the one written,
// slices without elements being nil. An error names the line, from 1, and what is wrong
// with it: no JSON, an unknown field, another version, or what WriteJSON refuses. Lines
// longer than 256 MiB are refused; memory is in proportion to what r holds.
func ReadJSON(r io.Reader) (*Log, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	l := &Log{}
	var last uint64
	for n := 1; ; n++ {
		line, err := readLine(in)
		if err == io.EOF && n > 1 {
			return l, nil
		}
		switch {
		case err == io.EOF:
			err = errors.New("there's no header")
		case err != nil:
		case n == 1:
			err = l.readHeader(line)
		default:
			var e Event
			if e, err = readEvent(line); err == nil {
				err = l.checkEvent(&e, n == 2, last)
			}
			last = e.Seq
			l.Events = append(l.Events, e)
		}
		if err != nil {
			return nil, fmt.Errorf("trace: line %d: %w", n, err)
		}
	}
}

// readLine returns the next line without its end, and [io.EOF] if there's none.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > maxLine {
			return nil, fmt.Errorf("longer than %d bytes", maxLine)
		}
		switch {
		case err == bufio.ErrBufferFull:
			line = append(line, part...)
			continue
		case err == io.EOF && len(line)+len(part) > 0, err == nil:
			if line == nil {
				return part, nil // valid until the next read: decoded by then
			}
			return append(line, part...), nil
		}
		return nil, err
	}
}

// decode reads line, one JSON value of known fields.
func decode(line []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if err == io.EOF {
			return errors.New("the line is empty")
		}
		return err
	}
	if rest := bytes.Trim(line[d.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return fmt.Errorf("there's more behind the value: %.20q", rest)
	}
	return nil
}

func (l *Log) readHeader(line []byte) error {
	var h jsonHeader
	if err := decode(line, &h); err != nil {
		return err
	}
	if h.Version != jsonVersion {
		return fmt.Errorf("version is %d, known is %d", h.Version, jsonVersion)
	}
	if len(h.Objects) > 0 {
		l.Objects = h.Objects
	}
	l.Dropped = h.Dropped
	for _, g := range h.Guilty {
		l.Guilty = append(l.Guilty, Guilty(g))
	}
	return l.check()
}

func readEvent(line []byte) (Event, error) {
	var j jsonEvent
	if err := decode(line, &j); err != nil {
		return Event{}, err
	}
	e := Event{
		Seq: j.Seq, G: j.G, Addr: j.Addr, Len: j.Len, Object: -1, Off: j.Off,
		NoEffect: j.NoEffect, Text: j.Text,
	}
	for k := Store; k <= lastKind; k++ {
		if kindNames[k] == j.Kind {
			e.Kind = k
		}
	}
	if e.Kind == 0 {
		return Event{}, fmt.Errorf("unknown kind %.40q", j.Kind)
	}
	if j.Object != nil {
		if e.Object = *j.Object; e.Object < 0 {
			return Event{}, fmt.Errorf("object is %d, allowed are 0 and more, or none", e.Object)
		}
	}
	if j.Data != "" {
		data, err := hex.DecodeString(j.Data)
		if err != nil {
			return Event{}, fmt.Errorf("data: %w", err)
		}
		e.Data = data
	}
	if len(j.Callers) > 0 {
		e.Callers = j.Callers
	}
	return e, nil
}
